"""The compiled package, unchanged, run by KFP's own orchestrator in containers of the image."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_pipelines import TaskRun, run_package

from helpers.object_store import BUCKET

pytestmark = pytest.mark.containers

STORAGE = f"s3://{BUCKET}/containers"
SETTINGS = (
    *("--config=digits", f"kubeflow.storage={STORAGE}", "image.size=32", "image.central_crop=1.0"),
    *("backbone.network=scratch_cnn", "training.epochs=3", "gate.min_accuracy=0.5"),
)


@dataclass(frozen=True)
class Run:
    spec: dict[str, Any]
    tasks: dict[str, TaskRun]
    storage: Path  # where artifacts lie
    local_accuracy: float
    local_model: Path


@pytest.fixture(scope="module")
def run(engine, image, object_store, tmp_path_factory) -> Run:
    """Prints how long each task took, beside the same step of a local run."""
    folder = tmp_path_factory.mktemp("package")
    for closed in (folder.parent, folder.parent.parent):
        closed.chmod(0o711)  # by pytest, to the tasks' user too
    settings = [*SETTINGS, f"root={folder}/root", f"cache={folder}/cache"]
    command("kubeflow", "upload", *settings, environment=object_store)
    package = folder / "package.yaml"
    command("kubeflow", "compile", *settings, f"kubeflow.image={image}", f"--output={package}")
    print_sizes(engine, image)
    tasks = run_package(package, folder / "runs", engine.address, object_store)
    told, steps = local_run(*settings)
    print(f"\n{'task':<18} {'container':>9} {'locally':>8}  seconds")
    for task in tasks:
        print(f"{task.name:<18} {task.seconds:>9.1f} {steps.get(task.name, 0):>8.1f}")
    print(f"{'all':<18} {sum(task.seconds for task in tasks):>9.1f} {sum(steps.values()):>8.1f}")
    return Run(
        next(yaml.safe_load_all(package.read_text("utf-8"))),
        {task.name: task for task in tasks},
        folder / "runs",
        float(re.search(r"^accuracy: (\S+)", told, re.MULTILINE)[1]),
        Path(re.search(r"^pushed: (\S+)", told, re.MULTILINE)[1]),
    )


def test_each_task_runs_once_and_after_what_it_needs(run):
    tasks = run.spec["root"]["dag"]["tasks"]
    assert sorted(run.tasks) == sorted(tasks)
    order = list(run.tasks)
    for name, task in tasks.items():
        for needed in task.get("dependentTasks", []):
            assert order.index(needed) < order.index(name)


def test_each_output_is_there(run):
    for name, task in run.tasks.items():
        declared = run.spec["components"][name].get("outputDefinitions", {}).get("artifacts", {})
        assert set(task.output.get("artifacts", {})) == set(declared)
        for key, output in declared.items():
            if output["artifactType"].get("schemaTitle", "").startswith("system."):
                continue  # not a folder, but what Pipelines' pages draw
            artifact = artifact_of(run, name, key)
            folder = Path(artifact["uri"])
            assert folder.is_relative_to(run.storage)
            # Before the first push there is nothing to compare with.
            absent = artifact.get("metadata", {}).get("absent") == 1
            assert absent is (name == "baseline")
            is_empty = not [path for path in folder.rglob("*") if path.is_file()]
            assert is_empty is absent


def test_pipelines_pages_get_metrics_a_matrix_and_the_report(run):
    metrics = artifact_of(run, "Evaluator", "metrics")["metadata"]
    assert metrics["accuracy"] == pytest.approx(run.local_accuracy, abs=1e-4)
    matrix = artifact_of(run, "ModelReport", "confusion_matrix")["metadata"]["confusionMatrix"]
    rows = [row["row"] for row in matrix["rows"]]
    hits, images = sum(rows[i][i] for i in range(10)), sum(map(sum, rows))
    assert hits / images == pytest.approx(metrics["accuracy"], abs=1e-6)
    page = Path(artifact_of(run, "ModelReport", "report_page")["uri"])
    assert page.is_relative_to(run.storage) and page.read_text("utf-8").startswith("<!doctype html")


def test_the_driver_of_example_gen_ran(run):
    found = artifact_of(run, "ImportExampleGen", "examples")["metadata"]
    assert "split:train,num_files:" in found["input_fingerprint"]


def test_the_accuracy_is_the_local_runs(run):
    from inception_finetune.components.evaluation.verdict import read_verdict

    evaluation = artifact_of(run, "Evaluator", "evaluation")["uri"]
    accuracy = read_verdict(evaluation, ()).metrics["accuracy"]
    print(f"accuracy: {accuracy:.4f} in containers, {run.local_accuracy:.4f} locally")
    assert accuracy == pytest.approx(run.local_accuracy, abs=1e-4)
    assert artifact_of(run, "Evaluator", "blessing")["metadata"]["blessed"] == 1


def test_the_pushed_model_answers_as_the_local_one(run, object_store, monkeypatch, tmp_path):
    from helpers.predicting import digit_pictures, predictions
    from inception_finetune.kubeflow import storage

    for name, value in object_store.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pushed = artifact_of(run, "Pusher", "pushed_model")["metadata"]
    assert pushed["pushed"] == 1
    assert pushed["pushed_destination"].startswith(f"{STORAGE}/serving/digits/")
    model = Path(storage.fetch(pushed["pushed_destination"]))
    pictures = digit_pictures(tmp_path)
    answers = [answer.label_id for answer in predictions(model, pictures)]
    assert len(set(answers)) > 5
    assert answers == [answer.label_id for answer in predictions(run.local_model, pictures)]


def artifact_of(run: Run, name: str, key: str) -> dict[str, Any]:
    [artifact] = run.tasks[name].output["artifacts"][key]["artifacts"]
    return artifact


def print_sizes(engine, image: str) -> None:
    with engine.client() as client:
        size = client.images.get(image).attrs["Size"]
    print(f"\nimage: {size / 1e9:.2f} GB")


def command(*arguments: str, environment: Mapping[str, str] | None = None) -> None:
    subprocess.run(
        [sys.executable, "-m", "inception_finetune", *arguments],
        env={**os.environ, **(environment or {})},
        check=True,
    )


def local_run(*settings: str) -> tuple[str, dict[str, float]]:
    """What it prints, and the seconds of each step, which the command announces."""
    process = subprocess.Popen(
        [sys.executable, "-m", "inception_finetune", "run", *settings],
        env={**os.environ, "COLUMNS": "300"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    starts = {}
    for line in process.stderr:
        if line.strip().isidentifier():
            starts[line.strip()] = time.monotonic()
    told = process.stdout.read()
    assert process.wait() == 0, told
    ends = [*list(starts.values())[1:], time.monotonic()]
    return told, {
        step: end - start for (step, start), end in zip(starts.items(), ends, strict=True)
    }
