"""The built wheel in an empty environment, beside the SDK that is called kubeflow as well."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import REPOSITORY

pytestmark = pytest.mark.wheel


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A virtual environment made only from what `make wheel` leaves."""
    folder = tmp_path_factory.mktemp("environment")
    uv = shutil.which("uv", path=f"{REPOSITORY / '.tools/bin'}:{os.environ['PATH']}")
    assert uv, "uv is not there; `make setup` installs it"
    built = REPOSITORY / "build" / "dist"
    [wheel] = built.glob("*.whl")
    install = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python")]
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [*install, "--no-deps", "--requirement", str(built / "requirements.txt"), str(wheel)],
        [*install, "kubeflow"],
    ):
        subprocess.run(command, check=True, cwd=folder)
    return folder


def run(environment: Path, *command: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(environment / "bin" / command[0]), *command[1:]],
        cwd=environment,
        env=inherited,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_takes_one_name_on_the_import_path(environment):
    [site] = environment.glob("lib/python*/site-packages")
    files = next(site.glob("inception_finetune-*.dist-info")).joinpath("RECORD").read_text("utf-8")
    tops = {line.split("/")[0] for line in files.splitlines() if not line.startswith("..")}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"inception_finetune"}


def test_the_sdk_and_our_commands_are_both_there(environment):
    done = run(environment, "python", "-c", "import kubeflow.trainer; print(kubeflow.__file__)")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent.parent.name == "site-packages"
    done = run(environment, "inception-finetune", "kubeflow", "compile", "--help")
    assert done.returncode == 0 and "compile" in done.stdout


def test_it_runs_digits(environment):
    done = run(environment, "inception-finetune", "run", "--config", "digits")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "blessed" in done.stdout
    [pushed] = (environment / "build/digits/serving/digits").iterdir()
    assert (pushed / "saved_model.pb").exists()
