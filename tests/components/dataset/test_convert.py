"""Conversion: what comes out is what went in, always the same, and whole or not at all."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from helpers.made_archives import made_images, made_members, write_archive
from inception_finetune.components import features
from inception_finetune.components.dataset import convert as convert_module
from inception_finetune.components.dataset.archive import Archive, read_archive
from inception_finetune.components.dataset.convert import convert, load_manifest
from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.dataset.tfrecord import frame, serialize_example
from inception_finetune.components.errors import UserError

SETTINGS = {"validation_fraction": 0.2, "seed": 0, "examples_per_shard": 16}


@pytest.fixture
def archive(tmp_path) -> Archive:
    """60 train images and 30 test images in three classes."""
    return read_archive(write_archive(tmp_path / "x.tar.gz", made_members()))


def read_examples(directory: Path, split: str) -> dict[str, tuple[np.ndarray, int]]:
    """Image and label by id, as TensorFlow reads them."""
    import tensorflow as tf

    files = sorted(map(str, directory.glob(f"{split}-*.tfrecord")))
    examples = {}
    for record in tf.data.TFRecordDataset(files):
        feature = tf.train.Example.FromString(record.numpy()).features.feature
        image = tf.io.decode_png(feature[features.IMAGE_ENCODED].bytes_list.value[0]).numpy()
        assert feature[features.IMAGE_FORMAT].bytes_list.value[:] == [b"png"]
        assert feature[features.IMAGE_HEIGHT].int64_list.value[:] == [image.shape[0]]
        assert feature[features.IMAGE_WIDTH].int64_list.value[:] == [image.shape[1]]
        assert len(feature) == 6
        image_id = feature[features.IMAGE_ID].bytes_list.value[0].decode()
        assert image_id not in examples
        examples[image_id] = image, feature[features.LABEL].int64_list.value[0]
    return examples


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def state(directory: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change: another one where a file was written again."""
    stats = {path.name: path.stat() for path in [directory, *directory.iterdir()]}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def everything_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def originals(archive: Archive, split: str) -> dict[str, tuple[np.ndarray, int]]:
    return {
        f"{batch.name}:{index}": (batch.images[index], int(batch.labels[index]))
        for batch in archive.batches
        if batch.split == split
        for index in range(len(batch.labels))
    }


def assert_same(found: dict, expected: dict) -> None:
    assert sorted(found) == sorted(expected)
    for image_id, (image, label) in expected.items():
        np.testing.assert_array_equal(found[image_id][0], image)
        assert found[image_id][1] == label


def test_pixels_labels_and_ids_come_back(archive, tmp_path):
    manifest = convert(archive, tmp_path / "out", **SETTINGS)
    splits = {split: read_examples(tmp_path / "out", split) for split in features.SPLITS}
    assert manifest.counts == {"train": 48, "validation": 12, "test": 30}
    assert {split: len(found) for split, found in splits.items()} == manifest.counts
    assert_same(splits["train"] | splits["validation"], originals(archive, "train"))
    assert_same(splits["test"], originals(archive, "test"))


def test_files_and_their_names(archive, tmp_path):
    manifest = convert(archive, tmp_path / "out", **SETTINGS)
    assert (tmp_path / "out" / "labels.txt").read_text() == "0:red\n1:green\n2:blue\n"
    assert sorted(contents(tmp_path / "out")) == [
        "labels.txt",
        "manifest.json",
        "test-00000-of-00002.tfrecord",
        "test-00001-of-00002.tfrecord",
        "train-00000-of-00003.tfrecord",
        "train-00001-of-00003.tfrecord",
        "train-00002-of-00003.tfrecord",
        "validation-00000-of-00001.tfrecord",
    ]
    assert load_manifest(tmp_path / "out") == manifest
    for shards in manifest.shards.values():
        for shard in shards:
            data = (tmp_path / "out" / shard.file).read_bytes()
            assert (shard.size, shard.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_label_names_beyond_ascii(tmp_path):
    members = made_members()
    members["batches.meta"]["label_names"] = ["grün", "日本", "a b"]
    archive = read_archive(write_archive(tmp_path / "x.tar.gz", members))
    convert(archive, tmp_path / "out", **SETTINGS)
    text = (tmp_path / "out" / "labels.txt").read_text("utf-8")
    assert text == "0:grün\n1:日本\n2:a b\n"
    assert load_manifest(tmp_path / "out").label_names == ("grün", "日本", "a b")


def test_any_number_of_workers_writes_the_same_bytes(archive, tmp_path):
    convert(archive, tmp_path / "one", workers=1, **SETTINGS)
    convert(archive, tmp_path / "two", workers=2, **SETTINGS)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_validation_is_stratified_and_follows_the_seed(archive, tmp_path):
    held_out = []
    for seed in (0, 0, 1):
        directory = tmp_path / f"out{len(held_out)}"
        convert(archive, directory, validation_fraction=0.2, seed=seed)
        examples = read_examples(directory, "validation")
        labels = [label for _, label in examples.values()]
        assert np.bincount(labels).tolist() == [4, 4, 4]
        assert all(image_id.startswith("data_batch_") for image_id in examples)
        held_out.append(set(examples))
    assert held_out[0] == held_out[1] != held_out[2]


def test_copies_are_not_parted_between_train_and_validation(tmp_path):
    """100 pictures of a rare class are ten copies of ten: of 30 seeds, none parts any."""
    common, rare = made_images(100, 0), np.repeat(made_images(10, 1), 10, axis=0)
    members = made_members()
    for name in [name for name in members if name.startswith("data_batch_")]:
        del members[name]
    members["batches.meta"]["label_names"] = ["common", "rare"]
    members["test_batch"]["labels"] = [label % 2 for label in members["test_batch"]["labels"]]
    members["data_batch_1"] = {
        "batch_label": "training batch 1 of 1",
        "data": np.concatenate([common, rare]).transpose(0, 3, 1, 2).reshape(200, -1),
        "labels": [0] * 100 + [1] * 100,
    }
    archive = read_archive(write_archive(tmp_path / "x.tar.gz", members))
    for seed in range(30):
        convert(archive, tmp_path / "out", validation_fraction=0.1, seed=seed)
        splits = {name: read_examples(tmp_path / "out", name) for name in ("train", "validation")}
        labels = [label for _, label in splits["validation"].values()]
        assert np.bincount(labels).tolist() == [10, 10]
        pixels = [{image.tobytes() for image, _ in of.values()} for of in splits.values()]
        assert not pixels[0] & pixels[1]


def test_train_is_shuffled_by_the_seed(archive, tmp_path):
    convert(archive, tmp_path / "out", **SETTINGS)
    convert(archive, tmp_path / "other", **{**SETTINGS, "seed": 1})
    order = list(read_examples(tmp_path / "out", "train"))
    assert order != sorted(order)
    common = set(order) & set(other := list(read_examples(tmp_path / "other", "train")))
    assert [i for i in order if i in common] != [i for i in other if i in common]
    assert list(read_examples(tmp_path / "out", "test")) == [f"test_batch:{i}" for i in range(30)]


def test_a_second_run_touches_nothing(archive, tmp_path, capsys):
    first = convert(archive, tmp_path / "out", **SETTINGS)
    before = state(tmp_path / "out")
    capsys.readouterr()
    assert convert(archive, tmp_path / "out", **SETTINGS) == first
    assert convert(archive, tmp_path / "out", workers=2, **SETTINGS) == first
    assert state(tmp_path / "out") == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "setting", [{"validation_fraction": 0.4}, {"seed": 7}, {"examples_per_shard": 8}]
)
def test_another_setting_converts_again(archive, tmp_path, setting):
    convert(archive, tmp_path / "out", **SETTINGS)
    convert(archive, tmp_path / "out", **{**SETTINGS, **setting})
    convert(archive, tmp_path / "fresh", **{**SETTINGS, **setting})
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_another_archive_or_converter_converts_again(archive, tmp_path, monkeypatch):
    convert(archive, tmp_path / "out", **SETTINGS)
    members = made_members()
    members["test_batch"]["labels"][0] = 2
    other = read_archive(write_archive(tmp_path / "y.tar.gz", members))
    convert(other, tmp_path / "out", **SETTINGS)
    assert read_examples(tmp_path / "out", "test")["test_batch:0"][1] == 2
    monkeypatch.setattr(convert_module, "CONVERTER_VERSION", 99)
    assert convert(other, tmp_path / "out", **SETTINGS).converter_version == 99


@pytest.mark.parametrize(
    "damage", ["byte", "truncated", "longer", "missing", "labels", "manifest", "killed manifest"]
)
def test_damage_is_noticed_and_mended(archive, tmp_path, damage):
    convert(archive, tmp_path / "out", **SETTINGS)
    whole = contents(tmp_path / "out")
    shard = tmp_path / "out" / "train-00001-of-00003.tfrecord"
    data = shard.read_bytes()
    if damage == "byte":
        shard.write_bytes(data[:700] + bytes([data[700] ^ 1]) + data[701:])
    elif damage == "truncated":
        shard.write_bytes(data[:-1])
    elif damage == "longer":
        shard.write_bytes(data + b"\0")
    elif damage == "missing":
        shard.unlink()
    elif damage == "labels":
        (tmp_path / "out" / "labels.txt").write_text("0:red\n")
    elif damage == "manifest":
        (tmp_path / "out" / "manifest.json").write_bytes(whole["manifest.json"][:-20])
    else:
        (tmp_path / "out" / "manifest.json").rename(tmp_path / "out" / "manifest.json.part")
    convert(archive, tmp_path / "out", **SETTINGS)
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize("foreign", ["notes.md", "train.tfrecord", "labels.txt.bak", "sub"])
def test_files_of_others_are_never_replaced(archive, tmp_path, foreign):
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / foreign
    path.mkdir() if foreign == "sub" else path.write_text("mine")
    with pytest.raises(UserError, match=f"holds {foreign}, which no conversion wrote.*Move it"):
        convert(archive, tmp_path / "out", **SETTINGS)
    assert everything_below(tmp_path / "out") == [foreign]


@pytest.mark.parametrize("own", ["train-00000-of-00001.tfrecord", "train-00007-of-00009.tfrecord"])
def test_records_of_others_are_never_replaced(archive, tmp_path, own):
    """They have the names that conversions give, as TensorFlow's own tools do."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / own).write_text("mine")
    (mine / "labels.txt").write_text("0:red\n")
    with pytest.raises(UserError, match=f"holds {own} but no manifest.json.*Move it away"):
        convert(archive, mine, **SETTINGS)
    convert(archive, tmp_path / "out", **SETTINGS)
    (tmp_path / "out" / "train-00007-of-00009.tfrecord").write_text("mine")
    with pytest.raises(UserError, match="holds train-00007-of-00009.tfrecord, which no conversion"):
        convert(archive, tmp_path / "out", **{**SETTINGS, "seed": 5})
    assert (mine / own).read_text() == "mine"
    assert (tmp_path / "out" / "train-00007-of-00009.tfrecord").read_text() == "mine"


def test_a_file_stands_where_the_directory_should(archive, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="out is a file"):
        convert(archive, tmp_path / "out", **SETTINGS)
    with pytest.raises(UserError, match="Cannot write the converted data set to .*out/below"):
        convert(archive, tmp_path / "out" / "below", **SETTINGS)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("step", ["shard", "manifest", "rename"])
def test_a_write_that_fails_leaves_what_was_there(archive, tmp_path, monkeypatch, earlier, step):
    out = tmp_path / "out"
    if earlier:
        convert(archive, out, **SETTINGS)
    before = everything_below(tmp_path), contents(out) if earlier else None

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    calls = iter(range(99))
    if step == "shard":
        write = convert_module.write_shard
        monkeypatch.setattr(
            convert_module, "write_shard", lambda s: write(s) if next(calls) < 2 else full()
        )
    elif step == "manifest":
        monkeypatch.setattr(convert_module, "write_manifest", full)
    else:
        rename = Path.rename
        monkeypatch.setattr(
            Path, "rename", lambda p, to: full() if p.name == "new" else rename(p, to)
        )
    with pytest.raises(UserError, match="No space left") as caught:
        convert(archive, out, **{**SETTINGS, "seed": 5})
    assert "\n" not in str(caught.value)
    assert (everything_below(tmp_path), contents(out) if earlier else None) == before


@pytest.mark.parametrize(("images_per_worker", "workers"), [(91, 1), (45, 2), (1, 2)])
def test_as_many_processes_as_pay(archive, tmp_path, monkeypatch, images_per_worker, workers):
    used = []
    monkeypatch.setattr(convert_module, "_IMAGES_PER_WORKER", images_per_worker)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    write = convert_module._write_in_processes
    monkeypatch.setattr(
        convert_module,
        "_write_in_processes",
        lambda s, workers: used.append(workers) or write(s, 1),
    )
    convert(archive, tmp_path / "out", **SETTINGS)
    assert used == [workers]


def test_a_worker_process_that_dies(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(convert_module, "write_shard", _die)
    with pytest.raises(UserError, match="converter processes died.*fewer workers"):
        convert(archive, tmp_path / "out", workers=2, **SETTINGS)
    assert everything_below(tmp_path) == ["x.tar.gz"]


def _die(_: object) -> None:
    os._exit(9)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"validation_fraction": 0.0}, "is 0.0, not between 0 and 1"),
        ({"validation_fraction": 1.0}, "is 1.0, not between 0 and 1"),
        ({"validation_fraction": float("nan")}, "validation_fraction is nan"),
        ({"validation_fraction": 0.001}, "leaves 60 for training and 0 for validation"),
        ({"validation_fraction": 0.999}, "leaves 0 for training and 60 for validation"),
        ({"seed": -1}, "seed is -1, and must not be negative"),
        ({"examples_per_shard": 0}, "examples_per_shard is 0, and must be 1 or more"),
        ({"workers": 0}, "workers is 0, and must be 1 or more"),
    ],
)
def test_settings_out_of_range(archive, tmp_path, setting, message):
    with pytest.raises(UserError, match=message):
        convert(archive, tmp_path / "out", **{**SETTINGS, **setting})
    assert not (tmp_path / "out").exists()


def test_no_manifest(tmp_path):
    with pytest.raises(UserError, match="manifest.json is missing. Convert again"):
        load_manifest(tmp_path)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (32, 32), (33, 5)])
def test_png_is_lossless(shape):
    import tensorflow as tf

    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    decoded = tf.io.decode_png(encode_png(image)).numpy()
    np.testing.assert_array_equal(decoded, image)


def test_records_are_those_of_tensorflow(tmp_path):
    import tensorflow as tf

    records = [
        serialize_example({"image/id": b"a:0", "n": -1, "empty": b"", "big": 1 << 40}),
        made_images(1, 0).tobytes(),
        b"",
    ]
    with tf.io.TFRecordWriter(str(tmp_path / "x")) as writer:
        for record in records:
            writer.write(record)
    assert (tmp_path / "x").read_bytes() == b"".join(map(frame, records))
    feature = tf.train.Example.FromString(records[0]).features.feature
    assert feature["image/id"].bytes_list.value[:] == [b"a:0"]
    assert feature["empty"].bytes_list.value[:] == [b""]
    assert feature["n"].int64_list.value[:] == [-1]
    assert feature["big"].int64_list.value[:] == [1 << 40]


@pytest.mark.real_data
def test_real_cifar_10(cifar_archive, tmp_path):
    archive = read_archive(cifar_archive)
    manifest = convert(archive, tmp_path / "out", validation_fraction=0.1, seed=0, workers=1)
    total = sum(len(batch.labels) for batch in archive.batches if batch.split == "train")
    assert manifest.counts["validation"] == pytest.approx(total / 10, abs=5)
    assert manifest.counts["train"] + manifest.counts["validation"] == total
    expected = originals(archive, "train")
    examples = read_examples(tmp_path / "out", "validation")
    assert_same(examples, {image_id: expected[image_id] for image_id in examples})
    in_train = np.bincount([label for _, label in expected.values()])
    held_out = np.bincount([label for _, label in examples.values()])
    assert held_out.tolist() == [round(count / 10) for count in in_train.tolist()]
    labels = (tmp_path / "out" / "labels.txt").read_text().splitlines()
    assert (labels[0], labels[9]) == ("0:airplane", "9:truck")
