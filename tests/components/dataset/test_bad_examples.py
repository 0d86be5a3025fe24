"""Bad examples stop a conversion, or are left out by name; nothing is dropped in silence."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.made_archives import made_members, write_archive
from helpers.made_pictures import (
    encoded,
    good_records,
    good_shards,
    record,
    write_folder,
    write_records,
)
from inception_finetune.components import features
from inception_finetune.components.dataset.convert import load_manifest
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.data_set import convert_dataset

TRAIN, TEST = "train-00000-of-00001.tfrecord", "test-00000-of-00001.tfrecord"
SKIP = "dataset.on_bad_example=skip"


def converted(source: Path, *overrides: str):
    """The manifest of a conversion to ``out`` beside `source`."""
    arguments = [f"dataset.archive={source}", "dataset.validation_fraction=0.2", *overrides]
    return convert_dataset(load_config("digits", arguments), source.parent / "out")


def refused(source: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        converted(source, *overrides)
    assert "\n" not in str(caught.value)
    assert not (source.parent / "out").exists()
    return str(caught.value)


def examples(directory: Path) -> dict[str, tuple[str, int, bytes]]:
    """Split, label and encoded picture by id."""
    import tensorflow as tf

    read = {}
    for split in features.SPLITS:
        files = sorted(map(str, directory.glob(f"{split}-*.tfrecord")))
        for serialized in tf.data.TFRecordDataset(files).as_numpy_iterator():
            feature = tf.train.Example.FromString(serialized).features.feature
            identity = feature[features.IMAGE_ID].bytes_list.value[0].decode()
            assert identity not in read
            read[identity] = (
                split,
                feature[features.LABEL].int64_list.value[0],
                feature[features.IMAGE_ENCODED].bytes_list.value[0],
            )
    return read


def state(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in directory.glob("*.tfrecord")}


@pytest.fixture
def archive(tmp_path) -> Path:
    """60 train images and 30 test images in three classes; three train labels are wrong."""
    members = made_members()
    members["data_batch_1"]["labels"][4] = 3
    members["data_batch_2"]["labels"][0] = "red"
    members["data_batch_2"]["labels"][29] = -1
    return write_archive(tmp_path / "x.tar.gz", members)


def test_a_wrong_label_fails_by_default_and_says_how_to_go_on(archive):
    message = refused(archive)
    assert message.startswith("Example data_batch_1:4 in ")
    assert ": label 3 is not a whole number in [0, 3). " in message
    assert "dataset.on_bad_example=skip" in message


def test_wrong_labels_are_left_out_counted_and_listed(archive, capsys):
    manifest = converted(archive, SKIP)
    bad = {"data_batch_1:4", "data_batch_2:0", "data_batch_2:29"}
    assert set(manifest.skipped) == bad
    assert sum(manifest.counts.values()) == 87
    out = archive.parent / "out"
    assert len(examples(out)) == 87 and not bad & examples(out).keys()
    listed = json.loads((out / "manifest.json").read_text())["skipped"]
    assert listed["data_batch_2:0"] == "label 'red' is not a whole number in [0, 3)"
    told = capsys.readouterr().err
    assert "3 bad examples left out, all listed in " in told and "data_batch_2:29" in told


def test_they_are_named_again_where_nothing_is_converted_again(archive, capsys):
    converted(archive, SKIP)
    before = state(archive.parent / "out")
    capsys.readouterr()
    converted(archive, SKIP, "dataset.max_bad_examples=3")
    assert "3 bad examples left out" in capsys.readouterr().err
    assert state(archive.parent / "out") == before
    assert load_manifest(archive.parent / "out").policy.max_bad_examples == 3


def test_one_more_than_the_limit_stops(archive):
    message = refused(archive, SKIP, "dataset.max_bad_examples=2")
    assert "More than dataset.max_bad_examples=2 examples of " in message
    assert "data_batch_2:29" in message


def test_the_limit_and_the_policies_are_checked():
    for setting in ("max_bad_examples=0", "on_bad_example=warn", "on_leakage=maybe"):
        with pytest.raises(UserError, match=f"dataset.{setting.partition('=')[0]}"):
            load_config("digits", [f"dataset.{setting}"])


def leaking(tmp_path: Path) -> Path:
    members = made_members()
    members["test_batch"]["data"][7] = members["data_batch_2"]["data"][5]
    return write_archive(tmp_path / "x.tar.gz", members)


def test_a_test_picture_in_train_is_an_error_by_default(tmp_path):
    message = refused(leaking(tmp_path))
    assert "as well (1 in all), such as data_batch_2:5 of train = test_batch:7 of test" in message
    assert "dataset.on_leakage=skip" in message


def test_a_leak_is_left_out_of_train_or_allowed(tmp_path):
    source = leaking(tmp_path)
    skipped = converted(source, "dataset.on_leakage=skip")
    assert skipped.skipped == {"data_batch_2:5 of train": "it is test_batch:7 of test too"}
    found = examples(tmp_path / "out")
    assert "data_batch_2:5" not in found and found["test_batch:7"][0] == "test"
    assert len(found) == 89
    assert converted(source, "dataset.on_leakage=allow").skipped == {}
    assert len(examples(tmp_path / "out")) == 90


@pytest.mark.parametrize(
    ("labels", "missing"), [([1] * 30, "red, blue"), ([2, 0] * 15, "green"), ([0, 1, 2] * 10, "")]
)
def test_a_class_that_nothing_teaches_is_refused_by_name(tmp_path, labels, missing):
    members = made_members(train_batches=1)
    members["data_batch_1"]["labels"] = labels
    source = write_archive(tmp_path / "x.tar.gz", members)
    if missing:
        assert f"without a picture in train: {missing}. Add" in refused(source)
    else:
        assert converted(source).counts["train"] == 24


def test_a_class_that_leaving_out_has_emptied_is_refused_by_name(tmp_path):
    source = write_folder(tmp_path / "in")
    for path in (source / "train/dog").iterdir():
        path.write_text("no picture")
    assert "without a picture in train: dog. Add" in refused(source, SKIP)


def test_a_class_without_a_test_picture_is_said_each_time(tmp_path, capsys):
    source = write_folder(tmp_path / "in")
    (source / "test/dog").rename(tmp_path / "away")
    for _ in range(2):
        assert converted(source).counts["test"] == 3
        told = capsys.readouterr().err.splitlines()
        assert told == [
            f"Layout of {source}: folders train/CLASS, test/CLASS, 2 classes",
            "no test picture, so nothing is measured, of dog",
        ]
    listed = json.loads((tmp_path / "out/manifest.json").read_text())["notes"]
    assert listed == told[1:]


def test_records_of_another_converter_are_taken_as_they_are(tmp_path):
    shards = good_shards()
    manifest = converted(write_records(tmp_path / "in", shards))
    assert manifest.counts == {"train": 16, "validation": 4, "test": 6}
    assert manifest.label_names == ("cat", "dog")
    found = examples(tmp_path / "out")
    assert found["train-2"][1:] == (0, encoded(2, "JPEG"))
    assert found["test-5"] == ("test", 1, encoded(1005, "JPEG"))


def test_their_own_validation_split_and_missing_ids(tmp_path):
    shards = good_shards()
    shards["validation-0.tfrecord"] = [record(IMAGE_ENCODED=encoded(2000), LABEL=1)]
    manifest = converted(write_records(tmp_path / "in", shards))
    assert manifest.counts == {"train": 20, "validation": 1, "test": 6}
    assert examples(tmp_path / "out")["validation-0.tfrecord:0"][0] == "validation"


BAD_RECORDS = {
    "no example": (b"\xff\xff\xff", "it is not a serialized tf.train.Example"),
    "no picture": (record(LABEL=0), "image/encoded is missing, not the bytes of one picture"),
    "two pictures": (
        record(IMAGE_ENCODED=[b"a", b"b"], LABEL=0),
        r"is \[b'a', b'b'\], not the bytes of one",
    ),
    "broken picture": (
        record(IMAGE_ENCODED=encoded(5)[:60], LABEL=0),
        r"it is not a whole PNG or JPEG .*\(60 B\)",
    ),
    "no label": (
        record(IMAGE_ENCODED=encoded(5000)),
        r"is missing, not one whole number in \[0, 2\)",
    ),
    "large label": (record(IMAGE_ENCODED=encoded(5000), LABEL=2), r"label is \[2\], not one"),
    "not a number": (record(IMAGE_ENCODED=encoded(5000), LABEL=float("nan")), r"is \[nan\]"),
    "text label": (record(IMAGE_ENCODED=encoded(5000), LABEL=b"fox"), r"is \[b'fox'\]"),
    "id again": (
        record(IMAGE_ENCODED=encoded(5000), LABEL=0, IMAGE_ID=b"train-3"),
        "an earlier example has the same id",
    ),
}


@pytest.mark.parametrize("kind", BAD_RECORDS)
def test_bad_records_fail_or_are_left_out_one_by_one(tmp_path, kind):
    bad, reason = BAD_RECORDS[kind]
    shards = good_shards()
    shards[TRAIN].insert(7, bad)
    source = write_records(tmp_path / "in", shards)
    with pytest.raises(UserError, match=f"Example .* in .*{TRAIN}: .*{reason}"):
        converted(source)
    manifest = converted(source, SKIP)
    [(identity, told)] = manifest.skipped.items()
    assert identity == f"{TRAIN}:7" or identity.startswith("train-3 (again, at byte ")
    assert sum(manifest.counts.values()) == 26
    assert len(examples(tmp_path / "out")) == 26


def test_a_flipped_bit_loses_one_record_and_a_cut_file_is_refused(tmp_path):
    source = write_records(tmp_path / "in", good_shards())
    data = bytearray((source / TRAIN).read_bytes())
    data[100] ^= 1
    (source / TRAIN).write_bytes(data)
    assert f"Example {TRAIN}:0 in {source / TRAIN}: record does not fit its checksum" in refused(
        source
    )
    manifest = converted(source, SKIP)
    assert list(manifest.skipped) == [f"{TRAIN}:0"]
    (source / TRAIN).write_bytes(data[:-10])
    with pytest.raises(UserError, match="ends in the middle of a record"):
        converted(source, SKIP)
    data[0] ^= 1  # of a length: nobody can tell where the next record begins
    (source / TRAIN).write_bytes(data)
    with pytest.raises(UserError, match="not a TFRecord file from byte 0 on"):
        converted(source, SKIP)


def test_an_id_in_train_and_test_is_a_leak(tmp_path):
    shards = good_shards()
    shards[TEST].append(record(IMAGE_ENCODED=encoded(5000), LABEL=0, IMAGE_ID=b"train-3"))
    source = write_records(tmp_path / "in", shards)
    assert "such as train-3 of train = train-3 of test" in refused(source)
    converted(source, "dataset.on_leakage=skip")
    found = examples(tmp_path / "out")
    assert found["train-3"] == ("test", 0, encoded(5000)) and len(found) == 26


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / TEST).unlink(), "has no records of test"),
        (lambda folder: (folder / TRAIN).unlink(), "has no records of train"),
        (lambda folder: (folder / TEST).write_bytes(b""), "is empty"),
        (lambda folder: (folder / "labels.txt").unlink(), "lacks labels.txt"),
        (lambda folder: (folder / "labels.txt").write_text("0:cat\n2:dog\n"), "0:cat, 1:dog"),
        (lambda folder: (folder / "labels.txt").write_text("0:cat\n1:cat\n"), "distinct printable"),
        (lambda folder: (folder / "labels.txt").write_text("0:cat\n1:\x1b[2J\n"), "printable name"),
        (lambda folder: (folder / "labels.txt").write_bytes(b"\xff\xff"), "UTF-8"),
    ],
)
def test_what_records_lack_is_named(tmp_path, change, told):
    change(source := write_records(tmp_path / "in", good_shards()))
    assert told in refused(source)


def test_all_test_examples_left_out_leave_nothing_to_measure(tmp_path):
    shards = good_shards() | {TEST: [b"\xff", b"\xff"]}
    assert "No test examples can be used" in refused(write_records(tmp_path / "in", shards), SKIP)


def test_a_folder_of_pictures_with_strange_names(tmp_path):
    source = write_folder(tmp_path / "a folder; $(touch x) 'ü")
    strange = source / "train/cat/$(rm -rf *) `x` ü\n.jpg"
    strange.write_bytes(encoded(7000))
    (source / "train/dog/notes.png").write_text("no picture")
    (source / "train/dog/nested").symlink_to("nowhere")
    (source / "train/dog/more/.hidden").mkdir(parents=True)
    (source / "train/dog/more/1.png").write_bytes(encoded(7001))
    (source / "train/.DS_Store").write_text("")
    message = refused(source)
    assert "train/dog/n" in message
    manifest = converted(source, SKIP)
    assert set(manifest.skipped) == {"train/dog/notes.png", "train/dog/nested"}
    found = examples(tmp_path / "out")
    assert len(found) == 28
    assert found["train/dog/more/1.png"][1:] == (1, encoded(7001))
    assert found["train/cat/$(rm -rf *) `x` ü\n.jpg"][2] == encoded(7000)
    assert found["test/dog/2.png"] == ("test", 1, encoded(1102))


@pytest.mark.parametrize("read", ["records", "folder"])
def test_unchanged_pictures_are_not_decoded_again(tmp_path, monkeypatch, read):
    source = (
        write_records(tmp_path / "in", good_shards())
        if read == "records"
        else write_folder(tmp_path / "in")
    )
    converted(source)
    before = state(tmp_path / "out")
    monkeypatch.setattr("inception_finetune.components.dataset.encoded_source.probe_image", None)
    monkeypatch.setattr("inception_finetune.components.dataset.convert_listed.probe_image", None)
    converted(source)
    assert state(tmp_path / "out") == before
    if read == "folder":
        changed = source / "train/cat/0.png"
        before = changed.stat()
        changed.write_bytes(encoded(1))
        assert changed.stat().st_size == before.st_size
        os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(TypeError):
            converted(source)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "test").rename(folder / "tests"), "lacks the folder test"),
        (
            lambda folder: shutil.copytree(folder / "test/dog", folder / "test/bird"),
            "Class 'bird' of ",
        ),
        (lambda folder: (folder / "train/dog").rename(folder / "dog"), "Class 'dog' of "),
        (lambda folder: shutil.rmtree(folder / "train/dog"), "Class 'dog' of "),
        (
            lambda folder: shutil.copytree(folder / "test", folder / "Test"),
            "for test: Test and test",
        ),
    ],
)
def test_what_a_folder_lacks_is_named(tmp_path, change, told):
    change(source := write_folder(tmp_path / "in"))
    assert told in refused(source)


def test_the_same_pixels_are_found_under_another_encoding(tmp_path):
    """Losslessly: the same picture as PNG with other bytes."""
    import io

    from PIL import Image

    source = write_folder(tmp_path / "in")
    buffer = io.BytesIO()
    Image.open(source / "train/dog/4.png").save(buffer, "PNG", compress_level=1, pnginfo=None)
    assert buffer.getvalue() != (source / "train/dog/4.png").read_bytes()
    (source / "test/dog/9.png").write_bytes(buffer.getvalue())
    assert re.search("train/dog/4.png of .* = test/dog/9.png of test", refused(source))


def test_records_of_both_kinds_are_split_alike(tmp_path):
    """A carved validation split is stratified, from pictures in files too."""
    shards = good_shards() | {TRAIN: good_records("train", 40, 0)}
    converted(write_records(tmp_path / "in", shards))
    labels = [label for split, label, _ in examples(tmp_path / "out").values() if split[0] == "v"]
    assert np.bincount(labels).tolist() == [4, 4]
