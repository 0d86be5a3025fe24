"""What is in the image, and what it runs: with a read-only root and without any right."""

import re

import docker
import pytest
from base_image import base_image
from product_image import DOCKERFILE, REVISION

from helpers.paths import REPOSITORY

INSTALLED = "/opt/inception-finetune/lib/python3.11/site-packages"
COMMAND = "inception-finetune"

pytestmark = pytest.mark.containers


def test_only_what_is_needed_is_sent(engine, tmp_path):
    """As a build sees it that copies all."""
    file = tmp_path / "Dockerfile"
    file.write_text(f"FROM {base_image(engine)}\nCOPY . /sent\nRUN find /sent -type f\n")
    told = engine.build(file, "--no-cache")
    sent = [line.removeprefix("/sent/") for line in told.splitlines() if line.startswith("/sent/")]
    assert {path.split("/")[0] for path in sent} == {
        *(".python-version", "LICENSE", "README.md", "pyproject.toml", "uv.lock"),
        *("components", "kubeflow", "pipeline", "src", "trainer"),
    }
    assert not [path for path in sent if "__pycache__" in path]


def test_the_base_is_pinned_and_uv_is_the_makefiles():
    text = DOCKERFILE.read_text("utf-8")
    bases = re.findall(r"^ARG BASE=(\S+)$", text, re.M)
    assert [bool(re.fullmatch(r"python:3\.11\S*@sha256:[0-9a-f]{64}", base)) for base in bases] == [
        True
    ]
    assert set(re.findall(r"^FROM (\S+)", text, re.M)) == {"${BASE}"}
    (version,) = re.findall(r"^UV_VERSION := (\S+)", (REPOSITORY / "Makefile").read_text(), re.M)
    assert f" uv=={version}\n" in text


def test_nobody_in_it_is_root_and_has_rights(output):
    told = output("sh", "-c", "id -u; cat /proc/self/status")
    assert told.splitlines()[0] == "1000"
    rights = dict(re.findall(r"^(Cap\w+|NoNewPrivs):\s+(\w+)", told, re.M))
    assert rights.pop("NoNewPrivs") == "1"
    assert set(rights) == {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}
    assert {int(value, 16) for value in rights.values()} == {0}


@pytest.mark.parametrize(
    ("options", "reason"), [({}, "Read-only file system"), ({"read_only": False}, "denied")]
)
def test_nothing_of_it_can_be_written(output, options, reason):
    with pytest.raises(docker.errors.ContainerError, match=reason):
        output("touch", f"{INSTALLED}/inception_finetune/trainer/new.py", **options)


def test_the_image_names_its_entry_point(engine, image):
    with engine.client() as client:
        config = client.images.get(image).attrs["Config"]
    assert (config["Entrypoint"], config["Cmd"]) == ([COMMAND], ["--help"])
    assert config["User"] == "1000:1000"


@pytest.mark.parametrize("user", ["1000:1000", "54321:0"])
def test_the_entry_point_says_what_it_can_do(output, user):
    told = output(COMMAND, "--help", user=user)
    assert "Usage: inception-finetune" in told and "kubeflow" in told
    assert "min_accuracy" in output(COMMAND, "config", "--config", "cifar10", user=user)


def test_modules_are_compiled(output):
    """Else each task compiles what it imports: with a read-only root, each time.

    Their flags say that they are used whatever the time of the source, which builders may change.
    """
    code = (
        "import importlib.util as u, pathlib, struct, tensorflow, tfx, inception_finetune.trainer\n"
        "for module in tensorflow, tfx, inception_finetune.trainer:\n"
        "    header = pathlib.Path(u.cache_from_source(module.__file__)).read_bytes()\n"
        "    print('flags', *struct.unpack_from('<I', header, 4))"
    )
    assert output("python", "-c", code).count("flags 1") == 3


def test_dotted_paths_are_found_from_anywhere(output):
    modules = [
        "inception_finetune.kubeflow.entrypoint",
        "inception_finetune.trainer.run_fn",
        "inception_finetune.components.image.transform",
    ]
    code = (
        "import importlib; "
        f"print(*(importlib.import_module(name).__file__ for name in {modules}), sep='\\n')"
    )
    found = output("sh", "-c", f'cd / && python -c "{code}" 2>/dev/null')
    assert found.split() == [f"{INSTALLED}/{name.replace('.', '/')}.py" for name in modules]


def test_a_worker_process_of_beam_finds_our_code(output):
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
    assert output("python", "-c", code).splitlines()[-1] == "done"


def test_a_tasks_command_is_there(output):
    with pytest.raises(docker.errors.ContainerError) as caught:
        output("python", "-m", "inception_finetune.kubeflow.entrypoint")
    assert caught.value.exit_status == 2
    assert b"--executor_class_path" in caught.value.stderr
    assert b"Traceback" not in caught.value.stderr


def test_the_code_and_its_revision_are_the_checkouts(output):
    from inception_finetune.components.steps import Step
    from inception_finetune.pipeline.code_fingerprint import code_fingerprint

    code = (
        "from inception_finetune.components.steps import Step; "
        "from inception_finetune.pipeline.code_fingerprint import code_fingerprint; "
        "from inception_finetune.trainer.extra_assets import provenance; "
        "print(code_fingerprint(Step.TRAINER), provenance()['git_revision'])"
    )
    told = output("python", "-c", code).splitlines()[-1]
    assert told.split() == [code_fingerprint(Step.TRAINER), REVISION]


def test_neither_tests_nor_tools_are_in_it(output):
    listed = output("ls", INSTALLED, "/opt/inception-finetune/bin", "/home/pipeline")
    names = set(listed.split())
    assert {"tfx", "inception_finetune", "inception-finetune"} <= names
    unwanted = {"pytest", "mypy", "moto", "ruff", "uv", "benchmarks", "components", "kubeflow"}
    assert names & unwanted == set()


def test_the_whole_pipeline_runs_in_it_as_any_user(output):
    settings = [
        *("root=/tmp/pipeline", "cache=/tmp/cache", "image.size=32", "image.central_crop=1.0"),
        *("backbone.network=scratch_cnn", "training.epochs=1", "gate.min_accuracy=0.1"),
    ]
    told = output(COMMAND, "run", "--config", "digits", *settings, user="54321:0")
    assert "blessed" in told and "pushed: /tmp/pipeline/serving/" in told.replace("\n", "")
