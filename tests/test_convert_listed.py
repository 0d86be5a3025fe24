import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.dataset.convert_listed import convert_listed
from components.dataset.listing import is_listed
from components.errors import UserError
from pipeline.beam_options import Beam, pipeline_arguments
from pipeline.failure import user_error

IN_MEMORY = pipeline_arguments(Beam())


def make_pictures(root: Path, per_class: int = 30) -> Path:
    """Two classes of random pictures, as PNG and as JPEG, of several sizes."""
    random = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog")):
        for number in range(per_class):
            pixels = random.integers(0, 255, [9 + number, 11, 3], np.uint8)
            path = root / name / f"{number}.{'png' if label else 'jpg'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


def convert(source: Path, directory: Path, **changes):
    settings = {"validation_fraction": 0.2, "test_fraction": 0.2, "seed": 0}
    settings |= {"examples_per_shard": 25, "beam_arguments": IN_MEMORY} | changes
    return convert_listed(source, directory, **settings)


def read(directory: Path) -> dict[str, dict[str, tuple]]:
    """split -> id -> (label, format, height, width, encoded)"""
    import tensorflow as tf

    found: dict[str, dict[str, tuple]] = {}
    for path in sorted(directory.glob("*.tfrecord")):
        of_split = found.setdefault(path.name.split("-")[0], {})
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            [identity] = feature["image/id"].bytes_list.value
            assert identity.decode() not in of_split
            of_split[identity.decode()] = (
                feature["image/class/label"].int64_list.value[0],
                feature["image/format"].bytes_list.value[0],
                feature["image/height"].int64_list.value[0],
                feature["image/width"].int64_list.value[0],
                feature["image/encoded"].bytes_list.value[0],
            )
    return found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def converted(pictures, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("converted") / "records"
    convert(pictures, directory)
    return directory


def test_each_picture_is_in_one_split_as_it_was(pictures, converted):
    found = read(converted)
    assert {split: len(of_split) for split, of_split in found.items()} == json.loads(
        (converted / "manifest.json").read_text()
    )["counts"]
    together = {key: value for of_split in found.values() for key, value in of_split.items()}
    assert len(together) == sum(map(len, found.values())) == 60
    assert min(map(len, found.values())) >= 4  # of 12 that are expected
    label, form, height, width, encoded = together["dog/7.png"]
    assert (label, form, height, width) == (1, b"png", 16, 11)
    assert encoded == (pictures / "dog/7.png").read_bytes()
    assert together["cat/0.jpg"][:2] == (0, b"jpeg")
    assert (converted / "labels.txt").read_text() == "0:cat\n1:dog\n"


def test_a_list_in_another_order_gives_the_same_shards(pictures, converted, tmp_path):
    lines = [f"{path.relative_to(pictures)}\t{path.parent.name}" for path in pictures.glob("*/*")]
    (pictures / "list.tsv").write_text("\n".join(sorted(lines, reverse=True)))
    assert is_listed(pictures / "list.tsv") and is_listed(pictures)
    convert(pictures / "list.tsv", tmp_path / "records")
    shards = sorted(converted.glob("*.tfrecord"))
    assert len(shards) == 9  # three parts
    for shard in shards:
        assert (tmp_path / "records" / shard.name).read_bytes() == shard.read_bytes()


def test_a_conversion_that_is_there_is_left_alone(pictures, converted):
    before = {path: path.stat().st_mtime_ns for path in converted.iterdir()}
    convert(pictures, converted)
    assert {path: path.stat().st_mtime_ns for path in converted.iterdir()} == before


def test_of_equal_pictures_one_is_kept_and_none_of_two_minds(tmp_path):
    source = make_pictures(tmp_path / "in" / "train")
    for split in ("test", "validation"):
        for name in ("cat", "dog"):
            (tmp_path / "in" / split / name).mkdir(parents=True)
    seen, contradictory = (source / "cat/3.jpg").read_bytes(), (source / "dog/4.png").read_bytes()
    (tmp_path / "in/test/cat/leaked.jpg").write_bytes(seen)
    (source / "cat/again.jpg").write_bytes(seen)
    (source / "cat/wrong.png").write_bytes(contradictory)
    Image.new("RGB", (8, 8)).save(tmp_path / "in/validation/dog/new.jpg")
    manifest = convert(tmp_path / "in", tmp_path / "records")
    found = read(tmp_path / "records")
    assert list(found["test"]) == ["test/cat/leaked.jpg"]
    assert list(found["validation"]) == ["validation/dog/new.jpg"]
    everything = {key for of_split in found.values() for key in of_split}
    gone = {"train/cat/3.jpg", "train/cat/again.jpg", "train/cat/wrong.png", "train/dog/4.png"}
    assert not gone & everything
    assert manifest.left_out == 4 and len(everything) == 60 + 4 - 4


def test_a_picture_that_cannot_be_read_is_named_and_nothing_is_written(tmp_path):
    source = make_pictures(tmp_path / "in", per_class=10)
    (source / "dog/6.png").write_bytes((source / "dog/6.png").read_bytes()[:60])
    with pytest.raises(Exception) as raised:
        convert(source, tmp_path / "records")
    told = str(user_error(raised.value))
    assert "dog/6.png" in told and "\n" not in told
    assert not (tmp_path / "records").exists()


def test_a_line_without_a_class_is_refused(tmp_path):
    (tmp_path / "list.tsv").write_text("a.png\tcat\nb.png\n")
    with pytest.raises(UserError, match="line 2"):
        convert(tmp_path / "list.tsv", tmp_path / "records")
