import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inception_finetune.components.dataset.bad_examples import Policy
from inception_finetune.components.dataset.convert import load_manifest
from inception_finetune.components.dataset.convert_listed import convert_listed
from inception_finetune.components.dataset.layout import layout_of
from inception_finetune.components.dataset.partition import ListedPicture, write_partition
from inception_finetune.components.dataset.probe import ImageInfo
from inception_finetune.components.errors import UserError
from inception_finetune.components.image.decoding import RULE
from inception_finetune.pipeline.beam_options import Beam, pipeline_arguments
from inception_finetune.pipeline.failure import user_error

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
    return convert_listed(layout_of(source), directory, **settings)


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
    # A fifth of each class is test, and of the other 24 a fifth is validation.
    labels = {split: [value[0] for value in found[split].values()] for split in found}
    assert {split: [of.count(0), of.count(1)] for split, of in labels.items()} == {
        "train": [19, 19],
        "validation": [5, 5],
        "test": [6, 6],
    }
    label, form, height, width, encoded = together["dog/7.png"]
    assert (label, form, height, width) == (1, b"png", 16, 11)
    assert encoded == (pictures / "dog/7.png").read_bytes()
    assert together["cat/0.jpg"][:2] == (0, b"jpeg")
    assert (converted / "labels.txt").read_text() == "0:cat\n1:dog\n"


def test_a_list_in_another_order_gives_the_same_shards(pictures, converted, tmp_path):
    lines = [f"{path.relative_to(pictures)}\t{path.parent.name}" for path in pictures.glob("*/*")]
    (pictures / "list.tsv").write_text("\n".join(sorted(lines, reverse=True)))
    convert(pictures / "list.tsv", tmp_path / "records")
    shards = sorted(converted.glob("*.tfrecord"))
    assert len(shards) == 8  # three parts, one of them without validation
    for shard in shards:
        assert (tmp_path / "records" / shard.name).read_bytes() == shard.read_bytes()


def test_a_conversion_that_is_there_is_left_alone(pictures, converted):
    before = {path: path.stat().st_mtime_ns for path in converted.iterdir()}
    convert(pictures, converted)
    assert {path: path.stat().st_mtime_ns for path in converted.iterdir()} == before


SKIP = Policy(on_bad_example="skip", on_leakage="skip")


def in_splits(root: Path) -> Path:
    """Both classes in all splits; a picture of test is in train twice, and one in validation."""
    make_pictures(root / "train", per_class=10)
    random = np.random.default_rng(1)
    for split in ("test", "validation"):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            pixels = random.integers(0, 255, [12, 12, 3], np.uint8)
            Image.fromarray(pixels).save(root / split / name / "new.png")
    seen = root / "test/dog/seen.png"
    Image.open(root / "train/dog/3.png").save(seen, compress_level=1)
    assert seen.read_bytes() != (root / "train/dog/3.png").read_bytes()
    for copy in ("train/cat/again.jpg", "validation/dog/again.jpg"):
        (root / copy).write_bytes(seen.read_bytes())
    return root


def test_leaks_are_an_error_left_out_or_allowed(tmp_path):
    """By the same rule and in the same words as where this machine reads the folder."""
    source, leaks = in_splits(tmp_path / "in"), ("train/cat/again.jpg", "train/dog/3.png")
    with pytest.raises(UserError) as raised:
        convert(source, tmp_path / "records")
    message = str(raised.value)
    assert message.startswith("Pictures of test are in train or validation as well (3 in all)")
    assert "such as train/cat/again.jpg of train = test/dog/seen.png of test: " in message
    assert not (tmp_path / "records").exists()
    manifest = convert(source, tmp_path / "records", policy=SKIP)
    names = [*(f"{leak} of train" for leak in leaks), "validation/dog/again.jpg of validation"]
    assert manifest.skipped == dict.fromkeys(names, "it is test/dog/seen.png of test too")
    assert load_manifest(tmp_path / "records") == manifest
    found = read(tmp_path / "records")
    assert set(found["test"]) == {"test/cat/new.png", "test/dog/new.png", "test/dog/seen.png"}
    assert len(found["train"]) == 19 and not set(leaks) & set(found["train"])
    allowed = convert(source, tmp_path / "records", policy=Policy(on_leakage="allow"))
    assert allowed.skipped == {} and allowed.counts == {"train": 21, "validation": 3, "test": 3}


def test_equal_pictures_are_not_parted_and_an_id_is_given_once(pictures, tmp_path):
    lines = [f"{path}\t{path.parent.name}" for path in sorted(pictures.glob("*/*.*g"))]
    for number, path in enumerate(sorted(pictures.glob("dog/*.png"))):
        copy = tmp_path / f"copy-{number}.png"
        copy.write_bytes(path.read_bytes())
        lines.append(f"{copy.name}\tdog")
    (tmp_path / "list.tsv").write_text("\n".join([*lines, lines[0]]))
    with pytest.raises(UserError, match="an earlier example has the same id"):
        convert(tmp_path / "list.tsv", tmp_path / "records")
    manifest = convert(tmp_path / "list.tsv", tmp_path / "records", policy=SKIP)
    [(identity, reason)] = manifest.skipped.items()
    assert identity == f"{pictures / 'cat/0.jpg'} (again, 2)" and "same id" in reason
    found = read(tmp_path / "records")
    splits = {value[4]: split for split, of_split in found.items() for value in of_split.values()}
    assert len(splits) == 60 and sum(map(len, found.values())) == 90
    for split, of_split in found.items():
        assert all(splits[value[4]] == split for value in of_split.values())


@pytest.fixture
def damaged(tmp_path) -> Path:
    """A list with a cut picture, a text, one that is not there, and one that is listed twice."""
    source = make_pictures(tmp_path / "in")
    (source / "dog/6.png").write_bytes((source / "dog/6.png").read_bytes()[:60])
    (source / "cat/7.jpg").write_text("no picture")
    lines = [f"{path}\t{path.parent.name}" for path in sorted(source.glob("*/*"))]
    (tmp_path / "list.tsv").write_text("\n".join([*lines, *["gone.png\tcat"] * 2]))
    return tmp_path / "list.tsv"


def test_a_picture_that_cannot_be_read_is_named_and_nothing_is_written(damaged, tmp_path):
    with pytest.raises(Exception) as raised:
        convert(damaged, tmp_path / "records")
    told = str(user_error(raised.value))
    assert "dataset.on_bad_example=skip" in told and "\n" not in told
    assert any(name in told for name in ("dog/6.png", "cat/7.jpg", "gone.png"))
    assert not (tmp_path / "records").exists()


def test_damaged_pictures_are_left_out_by_name(damaged, tmp_path):
    manifest = convert(damaged, tmp_path / "records", policy=SKIP)
    source = tmp_path / "in"
    reasons = {
        identity.removeprefix(f"{source}/"): said for identity, said in manifest.skipped.items()
    }
    assert list(reasons) == ["cat/7.jpg", "dog/6.png", "gone.png", "gone.png (again, 2)"]
    assert reasons["dog/6.png"] == f"it is not {RULE} (60 B)"
    assert "(No such file or directory)" in reasons["gone.png"]
    assert sum(map(len, read(tmp_path / "records").values())) == 58
    # Another policy checks again; the same one leaves all as it is.
    before = (tmp_path / "records/manifest.json").stat().st_mtime_ns
    assert convert(damaged, tmp_path / "records", policy=SKIP) == manifest
    assert (tmp_path / "records/manifest.json").stat().st_mtime_ns == before


def test_a_picture_that_changes_meanwhile_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"another picture")
    seen = ImageInfo("png", 8, 8, b"digest")
    listed = ListedPicture("a.png", str(tmp_path / "a.png"), 0, "train", b"its hash before", seen)
    with pytest.raises(UserError, match="a.png changed while it was converted. Convert again"):
        write_partition(
            (0, [listed]), str(tmp_path), 1, 0, Policy(), {0: {"test": 0, "validation": 0}}
        )
    assert not list(tmp_path.glob("*.json"))


def test_one_more_than_the_limit_stops(damaged, tmp_path):
    policy = Policy(on_bad_example="skip", max_bad_examples=3)
    with pytest.raises(UserError, match="More than dataset.max_bad_examples=3.*gone.png .again, 2"):
        convert(damaged, tmp_path / "records", policy=policy)
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize("place", ["list.tsv/out", "x" * 300, "gone/out"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, place):
    (tmp_path / "list.tsv").write_text("a.png\tcat\nb.png\tdog\n")
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(UserError, match="^Cannot write the converted data set to .*another dir"):
        convert(tmp_path / "list.tsv", tmp_path / place)


def test_one_class_alone_in_train_is_refused(tmp_path):
    source = make_pictures(tmp_path / "in", per_class=6)
    lines = []
    for place, path in enumerate(sorted(source.glob("*/*"))):
        split = "test" if "dog" in str(path) else ("train", "validation")[place % 2]
        lines.append(f"{path}\t{path.parent.name}\t{split}")
    (tmp_path / "list.tsv").write_text("\n".join(lines))
    with pytest.raises(
        UserError, match="Class 'dog' of .* has pictures in test, but none in train"
    ):
        convert(tmp_path / "list.tsv", tmp_path / "records")
    assert not (tmp_path / "records").exists()


def test_a_line_without_a_class_is_refused(tmp_path):
    (tmp_path / "list.tsv").write_text("a.png\tcat\nb.png\n")
    with pytest.raises(UserError, match="Line 2"):
        convert(tmp_path / "list.tsv", tmp_path / "records")
