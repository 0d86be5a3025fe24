"""After Ctrl-C in the middle of a task, and after SIGKILL, nothing is left but the cache."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from podman_engine import CACHE, SCRATCH, cgroups, running_engine, why_not

from helpers.paths import REPOSITORY

pytestmark = pytest.mark.containers

_TASK = "inception_finetune.kubeflow.entrypoint"
_TESTS = Path(__file__).with_name("test_package_in_containers.py")
_START_SECONDS = 1200


@pytest.fixture(autouse=True)
def able():
    if reason := why_not():
        pytest.fail(reason, pytrace=False)


def traces() -> dict[str, list[str]]:
    """What containers leave of themselves, by kind; but for the state of processes."""
    mounts = Path("/proc/mounts").read_text("utf-8").splitlines()
    return {
        "mounts": [line for line in mounts if str(CACHE) in line or str(SCRATCH) in line],
        "control groups": [str(group) for group in cgroups()],
        "folders": [str(SCRATCH)] if SCRATCH.exists() else [],
    }


def started_containers() -> list[str]:
    """As podman's storage names them."""
    file = CACHE / "storage" / "overlay-containers" / "containers.json"
    return [entry["id"] for entry in json.loads(file.read_text("utf-8") or "[]")]


def run_until_a_task_runs() -> tuple[subprocess.Popen, list[psutil.Process]]:
    """The tests of the package, with all processes that they have started."""
    tests = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-m",
            "containers",
            "-p",
            "no:cacheprovider",
            _TESTS,
        ],
        cwd=REPOSITORY,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    end = time.monotonic() + _START_SECONDS
    while tests.poll() is None and time.monotonic() < end:
        processes = psutil.Process(tests.pid).children(recursive=True)
        if any(_is_task(process) for process in processes):
            return tests, processes
        time.sleep(0.5)
    raise AssertionError(f"no task started:\n{aborted(tests)}")


def aborted(tests: subprocess.Popen) -> str:
    """Ends tests that hang; returns the last they said, with where each thread stood."""
    tests.send_signal(signal.SIGABRT)  # pytest's faulthandler prints the stacks
    return tests.communicate(timeout=60)[0][-8000:]


def _is_task(process: psutil.Process) -> bool:
    try:
        # conmon and runc name the command as well; of these none runs as the image's user.
        return process.uids().real == 1000 and _TASK in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def test_after_ctrl_c():
    tests, processes = run_until_a_task_runs()
    os.killpg(tests.pid, signal.SIGINT)
    try:
        told, _ = tests.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        pytest.fail(f"they go on:\n{aborted(tests)}")
    assert tests.returncode == pytest.ExitCode.INTERRUPTED, told[-4000:]
    assert not psutil.wait_procs(processes, timeout=10)[1]
    assert traces() == {"mounts": [], "control groups": [], "folders": []}
    assert started_containers() == []


def test_after_sigkill():
    """No process and no mount; what lies on the disk goes at the next start."""
    tests, processes = run_until_a_task_runs()
    tests.kill()
    tests.wait()
    assert not psutil.wait_procs(processes, timeout=10)[1]
    assert traces()["mounts"] == []
    assert started_containers()
    with running_engine():
        assert started_containers() == []
    assert traces() == {"mounts": [], "control groups": [], "folders": []}
