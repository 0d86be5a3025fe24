"""A server and all of its children end with the process that asked for it, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from helpers.paths import REPOSITORY
from inception_finetune.components.infra_validator.guard import descendants

# Starts a child in a session of its own whose parent ends at once, as daemons do, and writes both
# numbers down.
SERVER = """
import os, signal, sys, time
from pathlib import Path

if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(sys.argv[1], "grandchild").write_text(str(os.getpid()))
    time.sleep(600)
os.wait()
Path(sys.argv[1], "server").write_text(str(os.getpid()))
time.sleep(600)
"""
ASKER = """
import sys, time
from pathlib import Path
from inception_finetune.components.infra_validator.server import started_server
from inception_finetune.components.infra_validator.settings import InfraSection

place = Path(sys.argv[1])
words = (sys.executable, str(place / "server.py"), *sys.argv[1:], "{model_base_path}{rest_port}")
with started_server("made", place, InfraSection(server=words), place, 0) as server:
    time.sleep(600)
"""


def wait_for(path: Path) -> psutil.Process:
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return psutil.Process(int(path.read_text()))


def start(place: Path, *options: str) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """The process that asks, and those that must not outlive it: guard, server, its daemon."""
    (place / "server.py").write_text(SERVER)
    (place / "asker.py").write_text(ASKER)
    asker = subprocess.Popen(
        [sys.executable, place / "asker.py", place, *options],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")},
    )
    server, daemon = (wait_for(place / name) for name in ("server", "grandchild"))
    [guard] = psutil.Process(asker.pid).children()
    assert server.ppid() == guard.pid
    assert os.getsid(daemon.pid) not in (os.getsid(server.pid), os.getsid(asker.pid))
    return asker, [guard, server, daemon]


def require_gone(processes: list[psutil.Process], seconds: float = 20) -> None:
    _, left = psutil.wait_procs(processes, timeout=seconds)
    for process in left:
        process.kill()
    assert not left


@pytest.mark.parametrize(
    ("number", "options"),
    [
        pytest.param(signal.SIGKILL, ("stubborn",), id="SIGKILL, and a daemon ignores SIGTERM"),
        pytest.param(signal.SIGTERM, (), id="SIGTERM"),
        pytest.param(signal.SIGINT, (), id="Ctrl-C"),
    ],
)
def test_nothing_is_left_when_the_parent_is_killed(tmp_path, number, options):
    asker, processes = start(tmp_path, *options)
    asker.send_signal(number)
    asker.wait(60)
    require_gone(processes)


def test_the_server_ends_with_a_guard_that_is_killed(tmp_path):
    asker, [guard, server, daemon] = start(tmp_path)
    guard.kill()
    require_gone([server])
    asker.kill()
    asker.wait()
    daemon.kill()  # nobody's child any more: this is the one case in which it stays


def test_descendants_are_children_and_theirs():
    code = "import subprocess, sys; subprocess.run(['sleep', '60'])"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        deadline = time.monotonic() + 30
        while len(found := set(descendants(child.pid))) < 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        mine = set(descendants(os.getpid()))
        for one in found:
            os.kill(one, signal.SIGKILL)
    assert len(found) == 1 and {child.pid, *found} <= mine
