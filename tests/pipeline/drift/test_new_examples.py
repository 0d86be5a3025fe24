"""What check-data is given becomes records: any layout, with the model's numbers of the classes."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.encoded_pictures import encode
from helpers.made_layouts import CLASSES, made
from helpers.made_pictures import good_shards, write_records
from inception_finetune.components import features
from inception_finetune.components.dataset.probe import decode_pixels
from inception_finetune.components.drift.records import read_records
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.drift.new_examples import NewExamples, as_records


def read(place: Path, names=("cow", "bee", "ant"), labelled=True):
    """The labels by pixels, and what is said of the data."""
    import tensorflow as tf

    config = Config(cache=str(place.parent / "cache"))
    with as_records(config, [place], names, labelled=labelled) as new:
        found = {}
        for file in new.files:
            for record in read_records(file):
                feature = tf.train.Example.FromString(record).features.feature
                pixels = decode_pixels(feature[features.IMAGE_ENCODED].bytes_list.value[0])
                found[pixels.tobytes()] = list(feature[features.LABEL].int64_list.value)
    return found, new


def folder(root: Path) -> Path:
    for one in made("train"):
        path = root / CLASSES[one.label] / f"{one.number}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(Image.fromarray(one.pixels), "WEBP", lossless=True))
    return root


def test_classes_get_the_models_numbers_by_their_names(tmp_path):
    found, new = read(folder(tmp_path / "in"))
    assert found == {one.pixels.tobytes(): [2 - one.label] for one in made("train")}
    assert new.changes == []


def test_archives_and_lists_are_read_as_well(tmp_path):
    root = folder(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in root.rglob("*.webp"):
            archive.write(path, path.relative_to(root))
    rows = "".join(f"{p.relative_to(root)},{p.parent.name}\n" for p in root.rglob("*.webp"))
    (root / "list.csv").write_text(f"path,label\n{rows}")
    expected = {one.pixels.tobytes(): [2 - one.label] for one in made("train")}
    assert read(tmp_path / "in.zip")[0] == read(root / "list.csv")[0] == expected


def test_what_is_unreadable_or_unknown_is_said(tmp_path):
    root = folder(tmp_path / "in")
    (root / "ant/0.webp").write_bytes(b"RIFF....WEBP")
    found, new = read(root, names=("ant", "bee"))
    assert sorted(label for [label] in found.values()) == [0] * 3 + [1] * 4 + [2] * 4
    assert new.changes[0].startswith("1 examples cannot be read, such as ant/0.webp (it is a WebP")
    assert new.changes[1] == "pictures of classes that the model does not know: cow (4)"


def test_without_labels_any_folder_will_do(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    pictures = list(made("train"))
    for one in pictures:
        (root / f"{one.number}.png").write_bytes(one.png)
    found, new = read(root, labelled=False)
    assert found == {one.pixels.tobytes(): [] for one in pictures}
    with pytest.raises(UserError, match="is a single file, and a data set is a folder"):
        read(root / "0.png")


def test_records_are_taken_as_they_are(tmp_path):
    root = write_records(tmp_path / "in", good_shards())
    config = Config(cache=str(tmp_path / "cache"))
    file = root / "train-00000-of-00001.tfrecord"
    with as_records(config, [file], ("dog", "cat"), labelled=True) as new:
        assert new.files == [str(file)]
    (root / "labels.txt").unlink()
    with as_records(config, [root], ("dog", "cat"), labelled=True) as new:
        assert len(new.files) == 2


def test_records_with_names_are_numbered_by_them(tmp_path):
    root = write_records(tmp_path / "in", good_shards())
    found, _ = read(root, names=("dog", "cat"))
    assert np.bincount([label for [label] in found.values()]).tolist() == [13, 13]
    first = next(iter(read(root, names=("cat", "dog"))[0].values()))
    assert found[next(iter(found))] == [1 - first[0]]


def test_nothing_readable_is_one_line(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"no")
    config = Config(cache=str(tmp_path / "cache"))
    with (
        pytest.raises(UserError, match="No such file"),
        as_records(config, [tmp_path / "none"], CLASSES, labelled=True),
    ):
        pass
    new = NewExamples(left_out={"a": "b"})
    assert new.changes == ["1 examples cannot be read, such as a (b)"]
