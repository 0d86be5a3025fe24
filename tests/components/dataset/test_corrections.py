"""A person's table of corrections is applied by every conversion, and recorded."""

from pathlib import Path

import numpy as np
import pytest

from helpers.made_archives import made_members, write_archive
from helpers.made_pictures import write_folder
from inception_finetune.components.dataset.archive import read_archive
from inception_finetune.components.dataset.convert import convert, load_manifest
from inception_finetune.components.dataset.corrections import (
    Corrections,
    Row,
    corrections_text,
    read_corrections,
)
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.data_set import convert_dataset


def _labels(directory: Path) -> dict[str, int]:
    import tensorflow as tf

    found = {}
    for path in directory.glob("*.tfrecord"):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            identity = feature["image/id"].bytes_list.value[0].decode()
            found[identity] = feature["image/class/label"].int64_list.value[0]
    return found


def _table(path: Path, **corrections: str) -> Path:
    rows = [
        Row(one.replace("__", "/") + ".png", "train", "cat", "dog", "doubted", correction)
        for one, correction in corrections.items()
    ]
    path.write_text(corrections_text(rows))
    return path


def test_a_folder_is_converted_with_corrected_labels(tmp_path, capsys):
    folder = write_folder(tmp_path / "pictures")
    table = _table(
        tmp_path / "corrections.csv", train__cat__1="dog", train__cat__2="remove", train__cat__3=""
    )
    directory = tmp_path / "records"
    plain = load_config(None, [f"dataset.archive={folder}"])
    before = convert_dataset(plain, directory)
    assert before.corrected == {}
    config = load_config(None, [f"dataset.archive={folder}", f"dataset.corrections={table}"])
    capsys.readouterr()
    manifest = convert_dataset(config, directory)
    labels = _labels(directory)
    assert labels["train/cat/1.png"] == 1
    assert labels["train/cat/3.png"] == 0
    assert "train/cat/2.png" not in labels
    assert len(labels) == sum(before.counts.values()) - 1
    assert manifest.corrected == {"train/cat/1.png": "cat -> dog", "train/cat/2.png": "removed"}
    assert load_manifest(directory) == manifest
    assert manifest.skipped == {}
    assert "1 labels corrected and 1 images removed" in capsys.readouterr().err
    unchanged = (directory / "manifest.json").stat()
    assert convert_dataset(config, directory) == manifest
    assert (directory / "manifest.json").stat() == unchanged
    assert _labels(directory) == labels
    convert_dataset(plain, directory)  # and without the table as before
    assert _labels(directory)["train/cat/1.png"] == 0


def test_an_archive_is_converted_with_corrected_labels(tmp_path):
    archive = read_archive(write_archive(tmp_path / "made.tar.gz", made_members()))
    train = np.flatnonzero(archive.splits == "train")
    first, second = archive.ids[train[0]], archive.ids[train[1]]
    other = (archive.labels[train[0]] + 1) % len(archive.label_names)
    settings = {"validation_fraction": 0.2, "seed": 0}
    plain = convert(archive, tmp_path / "plain", **settings)
    fixes = Corrections({first: archive.label_names[other], second: "remove"}, "table.csv")
    manifest = convert(archive, tmp_path / "fixed", corrections=fixes, **settings)
    labels = _labels(tmp_path / "fixed")
    assert labels[first] == other
    assert second not in labels
    assert manifest.corrected[second] == "removed"
    assert sum(manifest.counts.values()) == sum(plain.counts.values()) - 1
    assert manifest.fingerprint != plain.fingerprint


def test_removing_a_copy_ends_a_leak(tmp_path):
    folder = write_folder(tmp_path / "pictures")
    (folder / "train/dog/copy.png").write_bytes((folder / "test/dog/0.png").read_bytes())
    config = [f"dataset.archive={folder}"]
    with pytest.raises(UserError, match="copy.png"):
        convert_dataset(load_config(None, config), tmp_path / "records")
    table = _table(tmp_path / "corrections.csv", train__dog__copy="remove")
    config.append(f"dataset.corrections={table}")
    manifest = convert_dataset(load_config(None, config), tmp_path / "records")
    assert manifest.corrected == {"train/dog/copy.png": "removed"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\n1,cat\n", "lack the column correction"),
        ("id,correction\na,cat\na,dog\n", "Image a has two corrections"),
        (b"id,correction\n\xff,cat\n", "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(tmp_path, text, message):
    table = tmp_path / "corrections.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message):
        read_corrections(table)


@pytest.mark.parametrize(
    ("name", "correction", "message"),
    [
        ("train__cat__1", "horse", "'horse' of image train/cat/1.png in .* names no class"),
        ("train__cat__77", "dog", "name 1 images that the data set lacks: train/cat/77.png"),
    ],
)
def test_corrections_of_another_data_set_are_refused(tmp_path, name, correction, message):
    folder = write_folder(tmp_path / "pictures")
    table = _table(tmp_path / "corrections.csv", **{name: correction})
    config = load_config(None, [f"dataset.archive={folder}", f"dataset.corrections={table}"])
    with pytest.raises(UserError, match=message):
        convert_dataset(config, tmp_path / "records")
    assert not (tmp_path / "records").exists()
