"""A span is forgotten after real runs: no byte of its pictures is left, and models serve on."""

import base64
import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ml_metadata.proto import metadata_store_pb2 as proto
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline import local
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.data_check import check_data_set
from inception_finetune.pipeline.forgotten_spans import read_forgotten
from inception_finetune.pipeline.history import forget as module
from inception_finetune.pipeline.history.compare import compare_runs
from inception_finetune.pipeline.history.forget import forget
from inception_finetune.pipeline.history.outcome import latest_pushed
from inception_finetune.pipeline.history.runs import open_store, read_runs
from inception_finetune.pipeline.locks import pipeline_lock

_A_DAY = 60


def write_day(pictures: Path, day: int) -> None:
    """Real digits 0 to 2, each file marked with its day."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(n_class=3, return_X_y=True)
    for place in range((day - 1) * _A_DAY, day * _A_DAY):
        pixels = np.kron(images[place].reshape(8, 8) * 15, np.ones([4, 4])).astype(np.uint8)
        note = PngInfo()
        note.add_text("day", f"MARK-{day}-")
        folder = pictures / f"2026-11-0{day}/n{labels[place]}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert("RGB").save(folder / f"{place}.png", pnginfo=note)


def contents(file: Path) -> Iterator[bytes]:
    """What a file holds: raw, unzipped, and what stands in it in base64."""
    raw = file.read_bytes()
    yield raw
    if raw.startswith(b"\x1f\x8b"):
        yield gzip.decompress(raw)
    for text in re.findall(rb"base64,([A-Za-z0-9+/=]+)", raw):
        yield base64.b64decode(text)


def traces(root: Path, day: int) -> set[str]:
    """The files below a root that hold a day's pictures, or ids of them."""
    signs = (f"MARK-{day}-".encode(), f"2026-11-0{day}/".encode())
    return {
        str(file.relative_to(root))
        for file in root.rglob("*")
        if file.is_file() and any(sign in part for part in contents(file) for sign in signs)
    }


def steps_of(files: set[str]) -> set[str]:
    return {Path(one).parts[1] for one in files if one.startswith("artifacts")}


class Days:
    """Two runs: days 1 and 2 tested with day 3, then days 2 and 3 tested with day 4."""

    def __init__(self, place: Path) -> None:
        self.place, self.root = place, place / "root"
        self.config = load_config(
            "scratch_cnn",
            [
                *("name=days", f"root={self.root}", f"cache={place}/cache"),
                f"dataset.spans={place}/pictures/{{YYYY}}-{{MM}}-{{DD}}",
                *("dataset.newest_as_test=true", "dataset.window=2"),
                *("dataset.validation_fraction=0.2", "dataset.on_near_duplicate=skip"),
                *("image.size=32", "backbone.trainable_from=Dense_3", "feature_cache=true"),
                *("training.epochs=1", "training.batch_size=8", "training.start_from=blessed"),
                *("gate.min_accuracy=0", "gate.max_accuracy_loss=0.99", "infra.server=serve"),
                *("export.formats=[tflite-int8]", "export.tflite_int8.max_difference=1.0"),
                *("export.test_pictures=20", "export.min_test_pictures=10"),
                "export.calibration_pictures=20",
            ],
        )
        for day in (1, 2, 3):
            write_day(place / "pictures", day)
        local.run(self.config)
        write_day(place / "pictures", 4)
        local.run(self.config)
        check_data_set(self.config, None, 1000)
        compare_runs(self.config, *read_runs(self.config), Console(quiet=True))
        self.before = {day: traces(self.root, day) for day in (1, 2, 3, 4)}


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> Days:
    return Days(tmp_path_factory.mktemp("days"))


@pytest.mark.e2e
def test_nothing_of_a_span_is_left_that_was_trained_on_and_whose_features_others_share(days):
    before = days.before[1]
    assert steps_of(before) == {"ImportExampleGen", "TrunkFeatures", "StatisticsGen"}
    assert len([one for one in before if "/trunk_features/" in one]) > 2  # of the second run too
    served = {
        path: path.read_bytes() for path in (days.root / "serving").rglob("*") if path.is_file()
    }
    page = days.root / "reviews/runs-1-2.html"
    assert page.is_file()
    done = forget(days.config, ["2026-11-01"])
    assert traces(days.root, 1) == set() and not page.exists()
    assert done.files > 20 and done.freed > 100_000
    assert done.removed["trunk features of other runs, in files with theirs"] == 1
    assert [(one.run, one.serves, one.descends) for one in done.models] == [
        (1, False, False), (2, True, True)
    ]  # fmt: skip
    assert all(len(one.versions) == 1 for one in done.models)
    assert done.sources == (days.place / "pictures/2026-11-01",)
    assert done.sources[0].is_dir()
    assert all(path.read_bytes() == content for path, content in served.items())
    assert len(traces(days.root, 2)) > 4  # another span's pictures stay where they are needed

    store = open_store(days.config)
    [execution] = store.get_executions_by_type("inception_finetune.Forgetting")
    assert execution.custom_properties["spans"].string_value == "2026-11-01"
    events = store.get_events_by_execution_ids([execution.id])
    models = {run.artifacts["Trainer", "model"].id: run.number for run in read_runs(days.config)}
    assert {models[one.artifact_id]: one.path.steps[0].key for one in events} == {
        1: "trained", 2: "descended"
    }  # fmt: skip
    first, second = read_runs(days.config)
    assert second.artifacts["ImportExampleGen", "examples"].state == proto.Artifact.LIVE
    assert second.artifacts["TrunkFeatures", "trunk_features"].state == proto.Artifact.DELETED
    for run in (first, second):
        assert run.artifacts["Trainer", "model"].state == proto.Artifact.LIVE
        assert run.model_directory.is_dir()
    with pytest.raises(UserError, match="was removed, by `clean`, `data forget` or by hand"):
        first.uri("ModelReport", "model_report")


@pytest.mark.e2e
@pytest.mark.parametrize("stop", [0, 1, 5, 9])
def test_what_was_stopped_anywhere_goes_on_and_no_run_starts_before(days, monkeypatch, stop):
    """Day 3 was tested with, then trained on, and shown on pages; stopped later each time."""
    if stop == 0:
        assert steps_of(days.before[3]) >= {"ModelReport", "TestPredictions"}  # it was test
        assert {Path(one).parts[0] for one in traces(days.root, 3)} >= {
            "artifacts", "data-check", "records", "records-checked", "spans"
        }  # fmt: skip
    rmtree, calls = module.shutil.rmtree, []

    def killed(folder: Path) -> None:
        calls.append(folder)
        if len(calls) > stop:
            raise KeyboardInterrupt
        rmtree(folder)

    if stop < 9:
        with monkeypatch.context() as patch:
            patch.setattr(module.shutil, "rmtree", killed)
            with pytest.raises(KeyboardInterrupt):
                forget(days.config, ["2026-11-03"])
        assert read_forgotten(days.root).unfinished == ["2026-11-03"]
        assert traces(days.root, 3)
        with pytest.raises(UserError, match="2026-11-03 in .* is not wholly forgotten: .* again"):
            local.run(days.config)
        return
    done = forget(days.config, ["2026-11-03"])
    assert traces(days.root, 3) == set()
    assert {(one.run, one.descends) for one in done.models} == {(2, False)}
    assert read_forgotten(days.root).unfinished == []


@pytest.mark.e2e
def test_the_next_run_reads_none_of_them_though_their_files_still_lie_there(days, capfd):
    write_day(days.place / "pictures", 5)
    capfd.readouterr()
    outcome = local.run(days.config)
    said = capfd.readouterr().err
    assert "forgotten, and not read: 2026-11-01, 2026-11-03; their files are yours" in said
    assert "window of 2 of 3 spans, 2026-11-02 to 2026-11-04" in said
    assert "2026-11-05 is held out as test" in said
    assert outcome.pushed == latest_pushed(days.config)
    assert traces(days.root, 1) == traces(days.root, 3) == set()
    assert len(traces(days.root, 4)) > 4


@pytest.mark.e2e
def test_it_is_refused_while_a_run_works_there(days, run_command):
    with pipeline_lock(days.root):
        status, _, said = run_command(
            *("data", "forget", "2026-11-02", "-c", "scratch_cnn", f"root={days.root}"),
            f"dataset.spans={days.config.dataset.spans}",
            "dataset.newest_as_test=true",
        )
    [line] = said.strip().splitlines()
    assert status == 1
    assert "is in use by process" in line
    assert len(traces(days.root, 2)) > 4
