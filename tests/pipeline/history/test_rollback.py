"""An older version serves again, the newer ones are withdrawn, and readers see no gap."""

import re
import time
from pathlib import Path

import pytest
from PIL import Image
from tfx.types.artifact_utils import deserialize_artifact
from tfx.types.standard_artifacts import Model

from helpers.pushing import contents
from helpers.reader import Reader
from inception_finetune.components.backbone.module import fingerprint
from inception_finetune.components.errors import ExitStatus
from inception_finetune.components.export.exported_file import open_exported_file
from inception_finetune.components.export.record import PUSHED_IN, read_record
from inception_finetune.pipeline import local
from inception_finetune.pipeline.baseline import LatestOtherBlessedModel
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.history.model_run import run_of
from inception_finetune.pipeline.history.outcome import latest_pushed
from inception_finetune.pipeline.history.rollback import read_rollbacks
from inception_finetune.pipeline.history.runs import open_store

_SMALL = (
    *("image.size=32", "image.central_crop=1.0", "backbone.network=scratch_cnn"),
    *("training.epochs=1", "gate.min_accuracy=0.0", "gate.max_accuracy_loss=0.9"),
    "infra.server=none",
    # One that passes, and one that cannot.
    *("export.formats=[onnx,tflite-int8]", "export.tflite_int8.max_difference=0.0"),
    *("export.test_pictures=100", "export.calibration_pictures=20"),
)


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("rollback")
    return *_SMALL, f"root={folder}/root", f"cache={folder}/cache"


@pytest.fixture(scope="module")
def pushed(places) -> list[Path]:
    """Two versions, each by a run of its own."""
    return [
        local.run(load_config("digits", [*places, f"training.seed={seed}"])).pushed
        for seed in (0, 1)
    ]


@pytest.mark.e2e
def test_a_version_carries_the_exports_that_passed(places, pushed, run_command, tmp_path):
    version = pushed[1]
    carried = version / "assets.extra/exports"
    assert {path.name for path in carried.iterdir()} == {"exports.json", "model.onnx"}
    record = read_record(carried)
    assert record.files == {"onnx": "model.onnx"} and record.test_pictures == 100
    assert list(record.refused) == ["tflite-int8"]
    # What is fingerprinted is the SavedModel, with exports beside it or not.
    stated = open_exported_file(carried / "model.onnx").metadata.fingerprint
    assert stated == record.fingerprint == fingerprint(version)
    status, out, error = run_command("run", *places, "training.seed=1")
    assert status == 0 and "Export" in out and "refused" not in error
    assert f"export onnx pushed: {carried / 'model.onnx'}" in out
    assert "export tflite-int8 refused, not pushed: largest difference of a probability" in out
    _, out, _ = run_command("review", *places)
    assert "2 onnx yes tflite-int8 no: refused, largest difference" in " ".join(out.split())

    # A pushed model that carries exports is exported as one that does not.
    given = ("--format", "onnx", "--output", tmp_path / "again", "--model", version)
    status, out, _ = run_command("export", *given, *places)
    assert status == 0
    again = open_exported_file(tmp_path / "again/model.onnx").metadata
    assert again.fingerprint == record.fingerprint
    picture = tmp_path / "digit.png"
    Image.new("RGB", (32, 32), (90, 90, 90)).save(picture)
    labels = []
    for model in (version, carried / "model.onnx"):
        status, out, _ = run_command("predict", "--model", model, picture, "--format", "csv")
        assert status == 0
        labels.append(out)
    assert labels[0].splitlines()[1].split(",")[:2] == labels[1].splitlines()[1].split(",")[:2]


@pytest.mark.e2e
def test_rolling_back(places, pushed, run_command):
    first, second = pushed
    config = load_config("digits", [*places, "training.seed=1"])
    assert latest_pushed(config) == second

    for wrong, message in (
        ((second.name,), f"Version {second.name} serves already"),
        (("7",), f"Version 7 is none that a run of digits pushed .*: {first.name}, {second.name}"),
        (("7", "8"), "2 versions are named"),
    ):
        status, _, error = run_command("rollback", *wrong, *places)
        assert status == ExitStatus.FAILED
        assert re.search(message, " ".join(error.split()))
    assert sorted(first.parent.iterdir()) == pushed

    reader = Reader(first.parent)
    reader.start()
    status, out, _ = run_command("rollback", *places)
    third = latest_pushed(config)
    while third.name not in reader.seen:
        time.sleep(0.01)
    assert reader.stop() == [] and reader.listings
    assert set(reader.seen) == {first.name, second.name, third.name}
    assert (status, out) == (0, f"version {first.name} serves again: {third}\n")
    assert int(third.name) > int(second.name) and contents(third) == contents(first)
    carried = third / "assets.extra/exports/model.onnx"
    assert open_exported_file(carried).metadata.fingerprint == fingerprint(third)
    assert run_of(config, third).number == run_of(config, first).number == 1
    [done] = read_rollbacks(config)
    assert (done.restored, done.version) == (first.name, third.name)
    status, _, error = run_command("rollback", *places)
    assert status == ExitStatus.FAILED and f"No version before {first.name}" in error

    # Nothing has changed but that its model was withdrawn: it does not come back by itself.
    status, out, error = run_command("run", *places, "training.seed=1")
    assert status == ExitStatus.REFUSED and "withdrawn by `rollback`" in error
    assert latest_pushed(config) == third
    _, out, _ = run_command("review", *places)
    assert "withdrawn" in out
    assert f"rolled back to version {first.name}, which serves as {third.name}" in " ".join(
        out.split()
    )


@pytest.mark.e2e
def test_the_next_model_is_compared_with_the_one_in_service(places, pushed):
    store = open_store(load_config("digits", [*places]))
    found = {
        name: [
            deserialize_artifact(store.get_artifact_type(name), artifact)
            for artifact in store.get_artifacts_by_type(name)
        ]
        for name in ("Model", "ModelBlessing")
    }
    candidate = Model()
    candidate.uri = found["Model"][0].uri
    resolved = LatestOtherBlessedModel().resolve_artifacts(
        store,
        {
            "candidate": [candidate],
            "model": found["Model"],
            "model_blessing": found["ModelBlessing"],
        },
    )
    [baseline] = resolved["model"]
    in_service = {
        name: content
        for name, content in contents(pushed[0]).items()
        if not name.startswith(PUSHED_IN)
    }
    assert contents(Path(baseline.uri) / "Format-Serving") == in_service


@pytest.mark.e2e
def test_a_version_may_come_back(places, pushed, run_command):
    config = load_config("digits", list(places))
    status, _, _ = run_command("rollback", pushed[1].name, *places)
    assert status == 0 and contents(latest_pushed(config)) == contents(pushed[1])
    (pushed[0] / "saved_model.pb").write_bytes(b"")
    status, _, error = run_command("rollback", pushed[0].name, *places)
    assert status == ExitStatus.FAILED and "saved_model.pb is gone or changed" in error
