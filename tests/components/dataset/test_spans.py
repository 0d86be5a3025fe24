"""Spans: which there are, that each is read once, and what a window of them holds."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inception_finetune.components import features
from inception_finetune.components.dataset.manifest import load_manifest
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.record_index import identify
from inception_finetune.pipeline import data_set
from inception_finetune.pipeline import spans as pipeline_spans
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.spans import find_spans


def write_pictures(folder: Path, seed: int, count: int, *names: str) -> Path:
    random = np.random.default_rng(seed)
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = random.integers(0, 256, [24, 24, 3], np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True)


@pytest.mark.parametrize(
    ("pattern", "folders", "found"),
    [
        (
            "{YYYY}-{MM}-{DD}",
            ["2026-11-28", "2026-03-01", "1970-01-02"],
            [("1970-01-02", 1, None), ("2026-03-01", 20513, None), ("2026-11-28", 20785, None)],
        ),
        ("day{SPAN}", ["day10", "day9"], [("9", 9, None), ("10", 10, None)]),
        ("{SPAN:3}", ["007"], [("7", 7, None)]),
        (
            "{SPAN}/v{VERSION}",
            ["1/v0", "1/v10", "1/v9", "2/v3"],
            [("1", 1, 10), ("2", 2, 3)],
        ),
        ("{YYYY}{MM}{DD}-{VERSION}", ["20261128-2"], [("2026-11-28", 20785, 2)]),
    ],
)
def test_spans_are_found_by_tfxs_patterns_and_their_newest_versions_count(
    tmp_path, pattern, folders, found
):
    make(tmp_path, *folders)
    spans, notes = find_spans(f"{tmp_path}/{pattern}")
    assert [(one.name, one.number, one.version) for one in spans] == found
    assert notes == []
    assert all(one.path.is_dir() for one in spans)


def test_what_looks_like_a_span_and_is_none_is_named(tmp_path):
    make(tmp_path, "2026-11-28", "2026-13-45", "my-old-stuff", "2026-11-28-old", "notes")
    spans, [note] = find_spans(f"{tmp_path}/{{YYYY}}-{{MM}}-{{DD}}")
    assert [one.name for one in spans] == ["2026-11-28"]
    assert note.startswith("no span, and not looked at: ")
    for name in ("2026-11-28-old", "2026-13-45", "my-old-stuff"):
        assert f"{tmp_path}/{name}" in note


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("pictures", "it has neither {SPAN} nor {YYYY}, {MM} and {DD}"),
        ("{YYYY}-{MM}", "Exactly one of each date spec"),
        ("{SPAN}-{SPAN}", "Only one {SPAN} is allowed"),
        ("{VERSION}", "Version spec provided"),
        ("{SPAN:x}", "not a positive integer"),
    ],
)
def test_patterns_that_are_none_are_refused_in_a_line(tmp_path, pattern, said):
    with pytest.raises(UserError, match="of dataset.spans is none of TFX's: ") as refused:
        find_spans(f"{tmp_path}/{pattern}")
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_one_span_in_two_places_is_refused(tmp_path):
    make(tmp_path, "1", "01")
    with pytest.raises(UserError, match="are the same span and version. Remove one"):
        find_spans(f"{tmp_path}/{{SPAN}}")


class Days:
    """Folders of days and a golden set, and ``convert(*overrides)`` of them."""

    def __init__(self, place: Path, capfd) -> None:
        self.place, self._capfd = place, capfd
        write_pictures(place / "golden", 99, 4, "cat", "dog")
        for day, names in ((1, ("cat", "dog")), (2, ("cat",)), (3, ("cat", "dog", "owl"))):
            write_pictures(self.day(day), day, 12, *names)

    def day(self, number: int) -> Path:
        return self.place / f"pictures/2026-11-0{number}"

    def convert(self, *overrides: str) -> str:
        """Returns what was said."""
        config = load_config(
            "scratch_cnn",
            [
                f"root={self.place}/root",
                f"cache={self.place}/cache",
                f"dataset.spans={self.place}/pictures/{{YYYY}}-{{MM}}-{{DD}}",
                f"dataset.golden={self.place}/golden",
                *overrides,
            ],
        )
        self._capfd.readouterr()
        data_set.convert_dataset(config, self.records)
        return self._capfd.readouterr().err

    @property
    def records(self) -> Path:
        return self.place / "root/records"

    def examples(self) -> dict[str, tuple[str, str]]:
        """Split and class of each example by id."""
        import tensorflow as tf

        manifest, found = load_manifest(self.records), {}
        for split, shards in manifest.shards.items():
            for shard in shards:
                for record in tf.data.TFRecordDataset(str(self.records / shard.file)):
                    identity, label = identify(record.numpy())
                    found[identity.decode()] = (split, manifest.label_names[label])
        return found


@pytest.fixture
def days(tmp_path, capfd) -> Days:
    return Days(tmp_path, capfd)


def test_each_span_is_read_once_and_a_new_day_alone_is_read(days, monkeypatch):
    said = days.convert("dataset.window=2")
    assert "span 2026-11-02: 12 pictures read" in said  # of one class alone
    assert "span 2026-11-03: 36 pictures read" in said and "2026-11-01:" not in said
    assert "window of 2 of 3 spans, 2026-11-02 to 2026-11-03, 48 pictures" in said
    examples = days.examples()
    assert len(examples) == 48 + 8
    assert examples["golden/cat/0.png"] == ("test", "cat")
    assert {name for _, name in examples.values()} == {"cat", "dog", "owl"}
    assert load_manifest(days.records).spans == {"2026-11-02": 12, "2026-11-03": 36}

    write_pictures(days.day(4), 4, 12, "cat", "dog")
    reads = []
    read_source = data_set.read_source
    monkeypatch.setattr(
        data_set, "read_source", lambda found, policy: reads.append(1) or read_source(found, policy)
    )
    said = days.convert("dataset.window=2")
    assert "span 2026-11-04: 24 pictures read" in said and len(reads) == 1
    assert "2026-11-03 to 2026-11-04" in said
    stored = {path.name for path in (days.place / "root/spans").iterdir()}
    assert stored == {"2026-11-03", "2026-11-04", "golden"}  # what has left is gone
    manifest = (days.records / "manifest.json").read_bytes()
    assert "pictures read" not in days.convert("dataset.window=2") and len(reads) == 1
    assert (days.records / "manifest.json").read_bytes() == manifest


def test_no_picture_changes_sides_while_the_window_moves(days):
    days.convert("dataset.window=2", "dataset.validation_fraction=0.3")
    before = days.examples()
    write_pictures(days.day(4), 4, 12, "cat", "dog")
    days.convert("dataset.window=2", "dataset.validation_fraction=0.3")
    after = days.examples()
    both = before.keys() & after.keys()
    assert len(both) == 36 + 8
    assert all(before[one] == after[one] for one in both)
    sides = [split for split, _ in after.values()]
    assert 5 < sides.count("validation") < 30


def test_late_data_replace_their_span(tmp_path, capfd):
    days = Days(tmp_path, capfd)
    pattern = f"dataset.spans={tmp_path}/v/{{SPAN}}-{{VERSION}}"
    write_pictures(tmp_path / "v/1-1", 1, 12, "cat", "dog")
    write_pictures(tmp_path / "v/2-1", 2, 12, "cat", "dog")
    days.convert(pattern)
    write_pictures(tmp_path / "v/1-2", 1, 15, "cat", "dog")
    said = days.convert(pattern)
    assert "span 1: 30 pictures read" in said and "span 2:" not in said
    examples = days.examples()
    assert len(examples) == 30 + 24 + 8 and "1/cat/14.png" in examples
    assert load_manifest(days.records).spans == {"1 (version 2)": 30, "2 (version 1)": 24}
    stored = {path.name for path in (tmp_path / "root/spans").iterdir()}
    assert stored == {"1-version-2", "2-version-1", "golden"}


def test_a_span_that_was_changed_in_place_is_read_again(days):
    days.convert()
    write_pictures(days.day(2), 22, 5, "dog")
    said = days.convert()
    assert "span 2026-11-02: again, 17 pictures read" in said and said.count("pictures read") == 1
    write_pictures(days.day(1), 11, 12, "cat", "dog")  # other pictures of the same names
    said = days.convert()
    assert "span 2026-11-01: again, 24 pictures read" in said and said.count("pictures read") == 1
    shutil.rmtree(days.place / "root/spans/2026-11-03")
    (days.place / "root/spans/2026-11-01/span.json").write_text("{")
    said = days.convert()
    assert "span 2026-11-01: again" in said and "span 2026-11-03: 36" in said


def test_classes_behind_links_are_looked_at_as_they_are_read(days):
    classes = days.day(1) / "cat", days.place / "elsewhere"
    classes[0].rename(classes[1])
    classes[0].symlink_to(classes[1])
    days.convert()
    write_pictures(days.place / "more", 31, 1, "cat")
    [picture] = (days.place / "more/cat").iterdir()
    picture.rename(classes[1] / os.fsdecode(b"\xff.png"))  # names need not be UTF-8
    said = days.convert()
    assert "span 2026-11-01: again, 25 pictures read" in said and said.count("pictures read") == 1


def test_the_newest_span_is_test_until_the_next_one_comes(days):
    said = days.convert("dataset.newest_as_test=true", "dataset.golden=null", "dataset.window=1")
    assert "window of 1 of 3 spans, 2026-11-02 to 2026-11-02" in said
    assert "2026-11-03 is held out as test" in said
    # The window knows cats alone.
    assert "24 test pictures of classes that no span of the window has are left out" in said
    by_split = {split: set() for split in features.SPLITS}
    for identity, (split, _) in days.examples().items():
        by_split[split].add(identity.split("/")[0])
    assert by_split == {
        "train": {"2026-11-02"}, "validation": {"2026-11-02"}, "test": {"2026-11-03"}
    }  # fmt: skip


def test_a_golden_picture_in_any_span_is_a_leak(days):
    copy = days.day(3) / "dog/copy.png"
    shutil.copy(days.place / "golden/dog/1.png", copy)
    with pytest.raises(
        UserError, match=r"2026-11-03/dog/copy.png of (train|validation) = golden/dog/1.png of test"
    ):
        days.convert()
    assert "1 bad examples left out" in days.convert("dataset.on_leakage=skip")
    assert "2026-11-03/dog/copy.png" not in days.examples()


def test_bad_examples_are_left_out_of_their_span_and_listed(days):
    (days.day(1) / "cat/bad.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="Example cat/bad.png in .*: it is not"):
        days.convert()
    assert "1 bad examples left out" in days.convert("dataset.on_bad_example=skip")
    assert list(load_manifest(days.records).skipped) == ["2026-11-01/cat/bad.png"]
    assert "1 bad examples left out" in days.convert("dataset.on_bad_example=skip")
    with pytest.raises(UserError, match="Example cat/bad.png in"):
        days.convert()


def test_too_few_spans_and_spans_with_tests_are_refused_in_a_line(days):
    with pytest.raises(UserError, match="has 3 spans to train on, fewer than .*min_spans=4. Wait"):
        days.convert("dataset.min_spans=4")
    with pytest.raises(UserError, match="2 spans to train on beside the newest, 2026-11-03, which"):
        days.convert("dataset.min_spans=3", "dataset.newest_as_test=true")
    with pytest.raises(UserError, match="has 0 spans to train on, fewer than"):
        days.convert(f"dataset.spans={days.place}/nothing/{{SPAN}}")
    for split in ("train", "test"):
        write_pictures(days.day(5) / split, 5, 3, "cat", "dog")
    with pytest.raises(UserError, match="Span 2026-11-05 in .* names test pictures"):
        days.convert()
    assert not days.records.exists()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["dataset.spans=p/{SPAN}"], "spans name no test pictures. Give golden"),
        (["dataset.golden=g"], "golden, newest_as_test and window are for spans"),
        (["dataset.window=3"], "are for spans"),
        (["dataset.spans=s3://b/{SPAN}", "dataset.golden=g"], "must be a path on this machine"),
        (["dataset.spans=p/{SPAN}", "dataset.golden=g", "dataset.window=0"], "dataset.window"),
    ],
)
def test_settings_of_spans_fit_together(overrides, said):
    with pytest.raises(UserError, match=said.replace("{", r"\{")):
        load_config("digits", overrides)


def test_the_pattern_is_what_is_shown_as_the_data_and_no_archive_is_read(days):
    config = load_config("digits", ["dataset.spans=p/{SPAN}", "dataset.golden=g"])
    assert config.dataset.archive == "p/{SPAN}"
    assert json.loads(config.model_dump_json())["dataset"]["spans"] == "p/{SPAN}"
    with pytest.raises(UserError, match="is no single data set, which is what this command reads"):
        data_set.find_layout(config)
    assert pipeline_spans.GOLDEN == "golden"
