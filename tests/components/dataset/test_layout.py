"""What a source is taken for: splits are never learnt as classes, and what is guessed is said."""

from pathlib import Path

import pytest

from inception_finetune.components.dataset.layout import layout_of, require_known_suffix
from inception_finetune.components.dataset.split_names import split_of
from inception_finetune.components.dataset.tree import files
from inception_finetune.components.errors import UserError


def made(root: Path, *names: str) -> Path:
    """Empty files below `root`; a name that ends in a slash is a folder's."""
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    return root


def split_folders(*tops: str) -> list[str]:
    return [f"{top}/{name}/{i}.jpg" for top in tops for name in ("cat", "dog") for i in range(2)]


def parts(root: Path) -> list[tuple[str, str]]:
    return [(split, str(path.relative_to(root))) for split, path in layout_of(root).parts]


@pytest.mark.parametrize(
    ("tops", "splits", "notes"),
    [
        (("train", "test"), ["train", "test"], []),
        (("train", "validation", "test"), ["train", "validation", "test"], []),
        (
            ("Training", "Testing"),
            ["train", "test"],
            ["'Testing' is taken as test (4 files)", "'Training' is taken as train (4 files)"],
        ),
        (
            ("train", "valid", "test"),
            ["train", "validation", "test"],
            ["'valid' is taken as validation (4 files)"],
        ),
        (
            ("TRAIN", "Val", "TEST"),
            ["train", "validation", "test"],
            [
                "'TEST' is taken as test (4 files)",
                "'TRAIN' is taken as train (4 files)",
                "'Val' is taken as validation (4 files)",
            ],
        ),
        (
            ("train", "test", "holdout"),
            ["train", "test"],
            ["not looked at, beside train and test: holdout (4 files)"],
        ),
    ],
)
def test_splits_are_known_by_their_usual_names(tmp_path, tops, splits, notes):
    found = layout_of(made(tmp_path / "in", *split_folders(*tops), "__MACOSX/a/x.jpg"))
    assert found.kind == "pictures"
    assert [split for split, _ in found.parts] == splits
    assert list(found.notes) == notes


def test_they_may_lie_in_one_folder_more(tmp_path):
    root = made(tmp_path, *split_folders("dataset/Training", "dataset/Testing"), ".DS_Store")
    assert parts(root) == [("train", "dataset/Training"), ("test", "dataset/Testing")]
    assert layout_of(root).notes[0] == f"looked at {tmp_path / 'dataset'}"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (split_folders("train", "test", "eval"), "'eval' may mean validation or test"),
        (
            split_folders("train", "Training", "test"),
            "several folders for train: Training and train",
        ),
        (split_folders("train", "val"), "lacks the folder test: it holds train, val"),
        (split_folders("seg_train", "seg_test"), r"look like splits \(seg_test, seg_train\)"),
        (split_folders("train2017", "val2017"), "look like splits"),
        (split_folders("a", "b"), r"\(a, b\) hold folders of the same names \(cat, dog\)"),
        (["cat/train/1.jpg", "cat/test/1.jpg", "dog/train/1.jpg"], r"same names \(train\)"),
        (["train/1.jpg", "test/2.jpg"], "look like splits"),
        (["train/steam/1.jpg", "bus/1.jpg"], "lacks the folder test: it holds bus, train"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(tmp_path, names, told):
    with pytest.raises(UserError, match=told):
        layout_of(made(tmp_path, *names))


def test_class_folders_may_be_deep_and_one_may_be_called_train(tmp_path):
    root = made(tmp_path, "bus/1.jpg", "bus/red/2.jpg", "plane/red/3.jpg", "train/4.jpg")
    assert parts(root) == [("", ".")]
    assert layout_of(root).notes == (
        "'train' is taken as a class: it holds pictures, not class folders",
    )


@pytest.mark.parametrize(
    "pattern",
    [
        "{}-00000-of-00001.tfrecord",
        "{}-0.tfrecord",
        "{}-00000-of-00001",
        "{}.tfrecords",
        "pets-{}.tfrecord-00000-of-00001",
        "flowers_{}_00000-of-00005.tfrecord",
        "pet_{}.record-00000-of-00010",
    ],
)
def test_records_under_the_names_that_converters_give(tmp_path, pattern):
    names = [pattern.format(split) for split in ("test", "train")]
    found = layout_of(made(tmp_path, "labels.txt", *names))
    assert (found.kind, found.notes) == ("records", ())
    assert parts(tmp_path) == [("train", names[1]), ("test", names[0])]


def test_other_spellings_and_files_of_records_are_said(tmp_path):
    names = ("train-0.tfrecord", "test-0.tfrecord", "val-0.tfrecord", "more-0.tfrecord", "x/a.jpg")
    found = layout_of(made(tmp_path, *names))
    assert [split for split, _ in found.parts] == ["train", "validation", "test"]
    assert found.notes == (
        "'val' is taken as validation (1 file)",
        "not looked at, beside train and test records: x, more-0.tfrecord",
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["labels.txt", "a.bin"], "has no records of train, but a.bin, labels.txt: "),
        (["train-0.tfrecord"], "has no records of test"),
        (["my_test_train-0.tfrecord"], "may be of test or train"),
        (["eval-0.tfrecord", "train-0.tfrecord"], "'eval' may mean validation or test"),
    ],
)
def test_records_that_are_not_read_are_named(tmp_path, names, told):
    with pytest.raises(UserError, match=told):
        layout_of(made(tmp_path, *names))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "https://x/train.XLSX",
            r"is not a list that can be read: that is text \(.tsv, .txt, .csv",
        ),
        ("pictures.rar", "that is a zip, tar or tar.gz. Unpack it, and give the folder"),
        ("train-0.tfrecord", "Give the folder"),
        ("cat.jpg", "Give the folder"),
    ],
)
def test_other_files_are_refused_before_they_are_fetched(name, told):
    with pytest.raises(UserError, match=told):
        require_known_suffix(name)
    require_known_suffix("list.TSV")
    require_known_suffix("archive.tar.gz")


def test_a_splits_name_is_known_in_any_case():
    known = ("Train", "TRAINING", "val", "Valid", "Validation", "dev", "test", "Testing", "cat")
    names = ["train"] * 2 + ["validation"] * 4 + ["test"] * 2 + [None]
    assert [split_of(name) for name in known] == names


def test_links_are_followed_and_none_twice_around(tmp_path):
    made(tmp_path / "disk", "3.jpg", "deep/4.jpg", "._5.jpg", "Thumbs.db", "desktop.ini")
    cat = made(tmp_path / "in/cat", "1.jpg", "__MACOSX/2.jpg")
    (cat / "more").symlink_to(tmp_path / "disk")
    (cat / "around").symlink_to(tmp_path / "in")
    (cat / "gone").symlink_to("nowhere")
    found = [str(path.relative_to(cat)) for path in files(cat, frozenset({f"{tmp_path}/in"}))]
    assert found == ["1.jpg", "around", "gone", "more/3.jpg", "more/deep/4.jpg"]
