"""The compiled package, replayed task by task, ends as the local run of the same configuration."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from launcher import Launcher, Task, TaskError
from serving_answers import TENSORFLOW, serving_answers

from helpers.colour_pictures import write_colours
from helpers.object_store import BUCKET

pytestmark = pytest.mark.kubeflow

IMAGE = f"registry.example.com/inception-finetune@sha256:{'0' * 64}"
# With a frozen trunk, so that each kind of task is there.
PLACE = f"minio://{BUCKET}/trunk"
OVERRIDES = [
    "backbone.trainable_from=Mixed_7c",
    "feature_cache=true",
    "training.epochs=1",
    "gate.min_accuracy=0.11",
]


@dataclass
class Compared:
    launcher: Launcher
    tasks: dict[str, Task]
    local_accuracy: float
    local_model: Path


@pytest.fixture(scope="module")
def compared(tmp_path_factory, object_store) -> Compared:
    """A replay of the package beside a local run; both print what they did."""
    folder = tmp_path_factory.mktemp("trunk")
    arguments = [
        "--config=digits",
        f"root={folder}/run",
        f"cache={folder}/cache",
        f"kubeflow.storage={PLACE}",
        f"kubeflow.image={IMAGE}",
        f"kubeflow.work={folder}/pod/training",
        *OVERRIDES,
    ]
    environment = os.environ | object_store
    data = command("kubeflow", "upload", *arguments, environment=environment).strip()
    # Without the store's address: compiling needs none.
    package = folder / "package.yaml"
    command("kubeflow", "compile", *arguments, f"--output={package}", environment=os.environ)
    local = command("run", *arguments, environment=os.environ)
    print(f"\nreplayed with {PLACE}\n{'task':<18} {'':>8}  outputs")
    launcher = Launcher(package, f"{PLACE}/runs", folder, object_store)
    assert launcher.parameters()["data"] == data
    tasks = launcher.execute()
    return Compared(
        launcher,
        tasks,
        float(re.search(r"^accuracy: (\S+)", local, re.MULTILINE)[1]),
        Path(re.search(r"^pushed: (\S+)", local, re.MULTILINE)[1]),
    )


@pytest.fixture
def in_store(object_store, monkeypatch, tmp_path):
    """Fetches a place of the object store into this test's own folder."""
    for name, value in object_store.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    from inception_finetune.kubeflow import storage

    return storage.fetch


def test_ends_as_the_local_run(compared, in_store):
    from helpers.predicting import digit_pictures, predictions

    accuracy = measured(compared.tasks, in_store)
    print(f"accuracy: {accuracy:.4f} replayed, {compared.local_accuracy:.4f} by the local run")
    assert accuracy == pytest.approx(compared.local_accuracy, abs=1e-4)
    assert metadata(compared.tasks, "Evaluator", "blessing")["blessed"] == 1
    pushed = metadata(compared.tasks, "Pusher", "pushed_model")
    assert pushed["pushed"] == 1
    assert pushed["pushed_destination"].startswith(f"{PLACE}/serving/digits/")
    model = Path(in_store(pushed["pushed_destination"]))
    pictures = digit_pictures(model.parent)
    assert [answer.label_id for answer in predictions(model, pictures)] == [
        answer.label_id for answer in predictions(compared.local_model, pictures)
    ]


def test_what_serves_on_a_cluster_answers_as_predict(compared, object_store, in_store, tmp_path):
    """KServe's download and TensorFlow of the serving image's version, of the pushed model."""
    from helpers.predicting import digit_pictures, predictions
    from inception_finetune.kubeflow import storage
    from inception_finetune.kubeflow.serving import Kind, manifest
    from inception_finetune.pipeline.config import load_config

    config = load_config("digits", [f"kubeflow.storage={PLACE}"])
    made = yaml.safe_load(manifest(config, Kind.KSERVE))["spec"]["predictor"]["model"]
    assert made["image"].endswith(f":{TENSORFLOW}")
    pushed = metadata(compared.tasks, "Pusher", "pushed_model")["pushed_destination"]
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"of another model")
    storage.store(tmp_path / "1", f"{PLACE}/serving/digits-old/1")
    pictures = digit_pictures(tmp_path)
    answers = serving_answers(made["storageUri"], tmp_path / "models", pictures, object_store)
    expected = predictions(Path(in_store(pushed)), pictures)
    assert answers["tensorflow"] == TENSORFLOW
    assert answers["folders"] == [pushed.rsplit("/", 1)[1]]
    assert answers["label_names"] == [answer.label_name for answer in expected]
    assert len(set(answers["label_names"])) > 1
    probabilities = [list(answer.probabilities.values()) for answer in expected]
    difference = np.abs(np.subtract(answers["probabilities"], probabilities)).max()
    print(f"TensorFlow {TENSORFLOW}: largest difference of a probability {difference:.1e}")
    assert difference < 1e-4


def test_pipelines_pages_get_the_metrics_and_the_page(compared, in_store):
    shown = metadata(compared.tasks, "Evaluator", "metrics")
    assert shown["accuracy"] == pytest.approx(measured(compared.tasks, in_store))
    page = Path(in_store(compared.tasks["ModelReport"].outputs["report_page"]["uri"]))
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_every_place_is_in_the_store(compared):
    """Nothing names a file of a pod that is gone."""
    for task in compared.tasks.values():
        for artifact in task.outputs.values():
            assert artifact["uri"].startswith(PLACE)
            assert str(compared.launcher.scratch) not in str(artifact["metadata"])


def test_the_driver_of_example_gen_ran(compared):
    found = metadata(compared.tasks, "ImportExampleGen", "examples")
    assert "split:train,num_files:" in found["input_fingerprint"]
    assert found["split_names"] == '["train", "validation", "test"]'


def test_parameters_change_the_next_run(compared, in_store):
    """Fewer steps at another rate, and a bound that is out of reach: other figures, no push."""
    first = measured(compared.tasks, in_store)
    tasks = compared.launcher.execute(training_steps=3, learning_rate=1e-5, min_accuracy=1.0)
    cached = {name for name, task in tasks.items() if task.cached}
    assert cached >= {"ImportExampleGen", "ImportSchemaGen", "StatisticsGen", "Transform"}
    assert not cached & {"Trainer", "baseline", "Evaluator", "Pusher"}
    settings = Path(in_store(tasks["Trainer"].outputs["model"]["uri"]))
    trained = (settings / "Format-Serving" / "assets.extra" / "settings.json").read_text()
    assert '"steps": 3,' in trained
    assert '"learning_rate": 0.00001,' in trained or '"learning_rate": 1e-05,' in trained
    assert measured(tasks, in_store) < first
    blessing = metadata(tasks, "Evaluator", "blessing")
    assert blessing["blessed"] == 0
    # The first run's model was there to be compared with.
    assert "absent" not in metadata(tasks, "baseline", "model")
    assert blessing["baseline_model"] == tasks["baseline"].outputs["model"]["uri"]
    pusher = tasks["Pusher"]
    assert pusher.skipped or metadata(tasks, "Pusher", "pushed_model")["pushed"] == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"data": f"s3://{BUCKET}/nothing"}, f"s3://{BUCKET}/nothing"),
        ({"learning_rate": -1.0}, "training.learning_rate: Input should be greater than 0"),
    ],
)
def test_a_failure_is_one_line(compared, given, said):
    with pytest.raises(TaskError) as caught:
        compared.launcher.execute(**given)
    [line] = [line for line in str(caught.value).splitlines() if line.startswith("error: ")]
    assert said in line
    assert "Traceback" not in str(caught.value)


def test_runs_of_a_window_read_the_upload_of_their_span(object_store, tmp_path):
    """Of a package that is compiled on the first day; up to what reads the data."""
    folder, place = tmp_path / "days", f"s3://{BUCKET}/days"
    write_colours(tmp_path / "golden", 9, 4, "cat", "dog")
    arguments = [
        *("--config=scratch_cnn", f"root={tmp_path}/run", f"cache={tmp_path}/cache"),
        f"dataset.spans={folder}/{{YYYY}}-{{MM}}-{{DD}}",
        *(f"dataset.golden={tmp_path}/golden", "image.size=32", "training.batch_size=8"),
        *(f"kubeflow.storage={place}", f"kubeflow.image={IMAGE}"),
    ]
    environment = os.environ | object_store
    package, uploads = tmp_path / "package.yaml", []
    for day in (1, 2):
        write_colours(folder / f"2026-11-0{day}", day, 20, "cat", "dog")
        if day == 1:
            command(
                "kubeflow", "compile", *arguments, f"--output={package}", environment=environment
            )
        uploads.append(command("kubeflow", "upload", *arguments, environment=environment).strip())
    launcher = Launcher(package, f"{place}/runs", tmp_path, object_store)
    only = ("window", "ImportExampleGen")

    def read(**given) -> tuple[str, int, list[str], bool]:
        tasks = launcher.execute(only, **given)
        found = tasks["window"].parameters
        assert not tasks["window"].cached
        examples = metadata(tasks, "ImportExampleGen", "examples")
        spans = [*json.loads(examples["spans"])]
        return found["data"], found["training_steps"], spans, tasks["ImportExampleGen"].cached

    data, steps, spans, cached = read()
    assert (data, spans, cached) == (uploads[1], ["2026-11-01", "2026-11-02"], False)
    assert read() == (data, steps, spans, True)
    older, fewer, spans, cached = read(span="2026-11-01")
    assert (older, spans, cached) == (uploads[0], ["2026-11-01"], False)
    assert 0 < fewer < steps
    with pytest.raises(TaskError, match=r"error: No upload of scratch-cnn with span=2026-11-03 in"):
        read(span="2026-11-03")


def command(*arguments: str, environment) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "inception-finetune"), *arguments],
        env=environment | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def metadata(tasks: dict[str, Task], name: str, key: str) -> dict:
    return tasks[name].outputs[key]["metadata"]


def measured(tasks: dict[str, Task], in_store) -> float:
    from inception_finetune.components.evaluation.verdict import read_verdict

    uri = in_store(tasks["Evaluator"].outputs["evaluation"]["uri"])
    return read_verdict(uri, ()).metrics["accuracy"]
