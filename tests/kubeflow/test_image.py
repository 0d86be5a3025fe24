"""The image: its build steps in a clean tree, then what it runs, read-only and not as root."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from image_build import ImageBuild

from helpers.paths import REPOSITORY

REVISION = "0123456789abcdef"
INSTALLED = "/opt/inception-finetune/lib/python3.11/site-packages"

pytestmark = pytest.mark.kubeflow


@pytest.fixture(scope="module")
def build():
    allowed = os.geteuid() == 0 and not subprocess.run(["unshare", "--mount", "true"]).returncode
    if not allowed or not shutil.which("setpriv"):
        pytest.skip("building an image's steps needs root, unshare and setpriv")
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        made = ImageBuild(REPOSITORY, Path(place), {"REVISION": REVISION})
        made.build(REPOSITORY / "kubeflow" / "Dockerfile")
        yield made


@pytest.fixture(scope="module")
def image(build):
    return build.stage


def output(image, *command: str, **options) -> str:
    done = image.run(command, read_only=True, **options)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_only_what_is_needed_is_sent(build):
    tops = {path.split("/")[0] for path in build.sent}
    assert tops == {
        *(".python-version", "LICENSE", "README.md", "pyproject.toml", "uv.lock"),
        *("components", "kubeflow", "pipeline", "src", "trainer"),
    }
    assert not [path for path in build.sent if "__pycache__" in path]


def test_the_base_is_pinned_and_uv_is_the_makefiles(build):
    assert all(re.fullmatch(r"python:3\.11\S*@sha256:[0-9a-f]{64}", base) for base in build.bases)
    (version,) = re.findall(r"^UV_VERSION := (\S+)", (REPOSITORY / "Makefile").read_text(), re.M)
    assert f" uv=={version}\n" in (REPOSITORY / "kubeflow" / "Dockerfile").read_text()


def test_nobody_in_it_is_root_and_nothing_of_it_can_be_written(image):
    assert output(image, "id", "-u").strip() == "1000"
    refused = image.run(["touch", f"{INSTALLED}/inception_finetune/trainer/new.py"])
    assert refused.returncode != 0 and "Permission denied" in refused.stderr


def test_the_entry_point_says_what_it_can_do(image):
    told = output(image, *image.entry_point, *image.command)
    assert "Usage: inception-finetune" in told and "kubeflow" in told
    assert "min_accuracy" in output(image, *image.entry_point, "config", "--config", "cifar10")


def test_dotted_paths_are_found_from_anywhere(image):
    modules = [
        "inception_finetune.kubeflow.entrypoint",
        "inception_finetune.trainer.run_fn",
        "inception_finetune.components.image.transform",
    ]
    code = (
        "import importlib; "
        f"print(*(importlib.import_module(name).__file__ for name in {modules}), sep='\\n')"
    )
    found = output(image, "sh", "-c", f'cd / && python -c "{code}" 2>/dev/null')
    assert found.split() == [f"{INSTALLED}/{name.replace('.', '/')}.py" for name in modules]


def test_a_worker_process_of_beam_finds_our_code(image):
    code = """
import os
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that
from inception_finetune.components.dataset.png import encode_png
import numpy as np

def check(answers):
    assert {size for _, size in answers} == {len(encode_png(np.zeros([2, 2, 3], np.uint8)))}
    assert parent not in {process for process, _ in answers}

parent = os.getpid()
options = PipelineOptions(
    ["--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
)
with beam.Pipeline(options=options) as pipeline:
    pictures = pipeline | beam.Create([np.zeros([2, 2, 3], np.uint8)] * 3)
    encoded = pictures | beam.Map(encode_png)
    assert_that(encoded | beam.Map(lambda picture: (os.getpid(), len(picture))), check)
print("done")
"""
    assert output(image, "python", "-c", code).strip() == "done"


def test_a_tasks_command_is_there(image):
    done = image.run(["python", "-m", "inception_finetune.kubeflow.entrypoint"], read_only=True)
    assert done.returncode == 2
    assert "--executor_class_path" in done.stderr and "Traceback" not in done.stderr


def test_the_code_and_its_revision_are_the_checkouts(image):
    from inception_finetune.pipeline.code_fingerprint import TRAINER_CODE, code_fingerprint

    code = (
        "from inception_finetune.pipeline.code_fingerprint import *; "
        "from inception_finetune.trainer.extra_assets import provenance; "
        "print(code_fingerprint(TRAINER_CODE), provenance()['git_revision'])"
    )
    told = output(image, "python", "-c", code)
    assert told.split() == [code_fingerprint(TRAINER_CODE), REVISION]


def test_neither_tests_nor_tools_are_in_it(image):
    listed = output(image, "sh", "-c", f"ls {INSTALLED} /opt/inception-finetune/bin /home/pipeline")
    names = set(listed.split())
    assert {"tfx", "inception_finetune", "inception-finetune"} <= names
    unwanted = {"pytest", "mypy", "moto", "ruff", "uv", "benchmarks", "components", "kubeflow"}
    assert names & unwanted == set()


def test_the_whole_pipeline_runs_in_it(image):
    settings = [
        *("root=/tmp/pipeline", "cache=/tmp/cache", "image.size=32", "image.central_crop=1.0"),
        *("backbone.network=scratch_cnn", "training.epochs=1", "gate.min_accuracy=0.1"),
    ]
    told = output(image, *image.entry_point, "run", "--config", "digits", *settings)
    assert "blessed" in told and "pushed: /tmp/pipeline/serving/" in told.replace("\n", "")
