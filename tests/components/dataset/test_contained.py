"""Pictures inside of other files: Parquet, Arrow, WebDataset, TFDS, compressed records."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from helpers.made_layouts import (
    CLASSES,
    Made,
    converted,
    expected,
    made,
    read_out,
    without_splits,
)
from helpers.web_server import serving
from inception_finetune.components.dataset.bad_examples import STRICT
from inception_finetune.components.dataset.layout import layout_of
from inception_finetune.components.dataset.tfrecord import frame
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.data_set import read_source

SKIP = "dataset.on_bad_example=skip"


def numbered() -> list[Made]:
    """All pictures, in one series."""
    pictures = made("train", "validation", "test")
    return [one._replace(number=number) for number, one in enumerate(pictures)]


def hugging_face(names: tuple[str, ...] = CLASSES) -> dict[bytes, bytes]:
    """The schema's metadata, as `datasets` writes them."""
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(names), "_type": "ClassLabel"},
    }
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def table_of(pictures: list[Made], *, label=None, names: tuple[str, ...] = CLASSES) -> pa.Table:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": one.png, "path": f"{one.number}.png"} for one in pictures], kind)
    labels = pa.array([one.label if label is None else label for one in pictures], pa.int64())
    return pa.table({"image": images, "label": labels}).replace_schema_metadata(hugging_face(names))


def write_parquet(root: Path, *splits: str, form: str = "data/{}-{:05d}-of-00002.parquet") -> Path:
    for split in splits:
        pictures = list(made(split))
        for number, part in enumerate((pictures[:5], pictures[5:])):
            path = root / form.format(split, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table_of(part), path, row_group_size=4)
    return root


def example(**values) -> bytes:
    """A framed `tf.train.Example`; ``__`` in a name stands for a slash."""
    import tensorflow as tf

    made_example = tf.train.Example()
    for name, value in values.items():
        feature = made_example.features.feature[name.replace("__", "/")]
        (feature.bytes_list if isinstance(value, bytes) else feature.int64_list).value.append(value)
    return frame(made_example.SerializeToString())


def write_tfds(root: Path, *splits: str, file_format: str = "tfrecord") -> Path:
    root.mkdir(parents=True)
    module = "tensorflow_datasets.core.features"
    features = {
        "image": {"pythonClassName": f"{module}.image_feature.Image"},
        "image/filename": {"pythonClassName": f"{module}.text_feature.Text"},
        "label": {"pythonClassName": f"{module}.class_label_feature.ClassLabel"},
    }
    (root / "features.json").write_text(json.dumps({"featuresDict": {"features": features}}))
    info = {"name": "my_test", "fileFormat": file_format, "splits": [{"name": s} for s in splits]}
    (root / "dataset_info.json").write_text(json.dumps(info))
    (root / "label.labels.txt").write_text("\n".join(CLASSES) + "\n")
    for split in splits:
        records = [example(image=one.png, label=one.label) for one in made(split)]
        path = root / f"my_test-{split}.tfrecord-00000-of-00001"
        path.write_bytes(b"".join(records))
    return root


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def wds_files(pictures: list[Made], form: str) -> dict[str, bytes]:
    """Two files of each example, the class as `form` has it."""
    contents = {
        "cls": lambda one: str(one.label).encode(),
        "txt": lambda one: CLASSES[one.label].encode() + b"\n",
        "json": lambda one: json.dumps({"id": 7, "label": CLASSES[one.label]}).encode(),
    }
    return {
        f"./{one.number:06d}.{suffix}": data
        for one in pictures
        for suffix, data in (("PNG", one.png), (form, contents[form](one)), ("seg.png", b"mask"))
    }


@pytest.mark.parametrize(
    "form",
    ["data/{}-{:05d}-of-00002.parquet", "{}-{:05d}.parquet", "default/{}/{:04d}.parquet"],
)
def test_parquet_as_datasets_writes_it(tmp_path, form, capsys):
    source = write_parquet(tmp_path / "in", "train", "test", form=form)
    (source / "README.md").write_text("card")
    manifest = converted(source)
    assert manifest.label_names == CLASSES
    assert read_out(source) == expected()
    assert "Parquet, 2 files of train, 2 files of test" in capsys.readouterr().err


def test_parquet_without_test_is_held_out_by_a_hash_of_the_pixels(tmp_path):
    source = write_parquet(tmp_path / "in", "train", "validation")
    manifest = converted(source)
    assert manifest.counts == {"train": 9, "validation": 6, "test": 3}
    everything = expected("train") | {("validation", *row[1:]) for row in expected("validation")}
    assert without_splits(read_out(source)) == without_splits(everything)
    assert (
        "no Parquet files of test: dataset.test_fraction of each class of train becomes " + ("test")
        in manifest.notes
    )


def test_a_secret_test_split_is_not_used_and_said(tmp_path):
    source = write_parquet(tmp_path / "in", "train")
    pq.write_table(table_of(list(made("test")), label=-1), source / "data/test-0.parquet")
    manifest = converted(source)
    assert manifest.counts == {"train": 6, "validation": 3, "test": 3}
    assert manifest.notes[0] == "not used, without classes: test-0.parquet"


@pytest.mark.parametrize("kind", ["text", "category", "number", "large bytes"])
def test_parquet_of_other_writers(tmp_path, kind):
    pictures = list(made("train"))
    labels = pa.array([CLASSES[one.label] for one in pictures])
    if kind == "category":
        labels = labels.dictionary_encode()
    if kind == "number":
        labels = pa.array([float(one.label * 5) for one in pictures])
    form = pa.large_binary() if kind == "large bytes" else pa.binary()
    columns = {"id": pa.array(range(12)), "img": pa.array([one.png for one in pictures], form)}
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table(columns | {"species": labels}), source)
    names = converted(source).label_names
    assert names == (("0", "5", "10") if kind == "number" else CLASSES)
    numbered = {(CLASSES[names.index(name)], pixels) for _, name, pixels in read_out(source)}
    assert numbered == without_splits(expected("train"))


def test_classes_without_a_picture_are_none_and_said(tmp_path):
    source = tmp_path / "in.parquet"
    names = ("x", *CLASSES, "y")
    pictures = [one._replace(label=one.label + 1) for one in made("train")]
    pq.write_table(table_of(pictures, names=names), source)
    manifest = converted(source)
    assert manifest.label_names == CLASSES
    assert "no picture, and so no class for: x, y" in manifest.notes
    assert without_splits(read_out(source)) == without_splits(expected("train"))


def test_rows_that_are_bad_are_left_out_by_name(tmp_path):
    table = table_of(numbered())
    images = table["image"].to_pylist()
    images[0], images[1]["bytes"], images[2]["bytes"] = None, None, b"no picture"
    labels = table["label"].to_pylist()
    labels[3], labels[4] = 7, None
    broken = pa.table({"image": pa.array(images, table["image"].type), "label": labels})
    source = tmp_path / "in.parquet"
    pq.write_table(broken.replace_schema_metadata(table.schema.metadata), source)
    with pytest.raises(UserError, match=r"Example in.parquet:0 in .*: it is empty. Correct it"):
        converted(source)
    skipped = converted(source, SKIP).skipped
    assert skipped.pop("in.parquet:2").startswith("it is not a whole PNG or JPEG")
    assert skipped == {
        "in.parquet:0": "it is empty",
        "in.parquet:1": "it has no bytes, but the path '1.png'",
        "in.parquet:3": "label 7 is not one of 3 classes",
        "in.parquet:4": "label None is not one of 3 classes",
    }


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"a": [b"x"], "b": [b"y"], "label": [1]}, "which one holds the pictures may be a or b"),
        (
            {"image": [b"x"], "y2": [1]},
            "holds the classes cannot be told. Set dataset.label_column",
        ),
        ({"image": ["x"], "label": [1]}, "the pictures cannot be told. Set dataset.image_column"),
    ],
)
def test_columns_that_cannot_be_told_are_named(tmp_path, columns, told):
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    with pytest.raises(UserError, match=told):
        converted(tmp_path / "in.parquet")


@pytest.mark.parametrize("damage", [lambda d: d[:-9], lambda d: d[:-200] + b"\xff" * 190 + d[-10:]])
@pytest.mark.parametrize("name", ["in.parquet", "in.arrow"])
def test_damaged_files_are_one_line(tmp_path, name, damage):
    source = tmp_path / name
    if name == "in.parquet":
        pq.write_table(table_of(list(made())), source)
    else:
        with (
            pa.OSFile(str(source), "wb") as file,
            pa.ipc.new_file(file, table_of(list(made())).schema) as writer,
        ):
            writer.write_table(table_of(list(made())))
    source.write_bytes(damage(source.read_bytes()))
    with pytest.raises(UserError) as error:
        converted(source)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_memory_does_not_grow_with_the_file(tmp_path):
    """Repeated values are stored once in Parquet, and so unpack to any size."""
    from inception_finetune.components.dataset.columns import _batches

    big = bytes(1 << 22)
    pq.write_table(pa.table({"image": [big] * 200, "label": [1] * 200}), tmp_path / "in.parquet")
    assert (tmp_path / "in.parquet").stat().st_size < 1 << 20
    before, sizes = pa.total_allocated_bytes(), []
    for batch in _batches(tmp_path / "in.parquet", ["image", "label"], 4):
        sizes.append(pa.total_allocated_bytes() - before)
        assert batch.num_rows <= 4
    assert len(sizes) == 50 and max(sizes) < 1 << 26  # of 800 MB


def test_folders_that_save_to_disk_writes(tmp_path):
    source = tmp_path / "in"
    for split in ("train", "test"):
        (source / split).mkdir(parents=True)
        table = table_of(list(made(split)))
        for number, part in enumerate((table.slice(0, 4), table.slice(4))):
            path = source / split / f"data-{number:05d}-of-00002.arrow"
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
                out.write_table(part, max_chunksize=3)
        files = [{"filename": path.name} for path in sorted((source / split).glob("*.arrow"))]
        (source / split / "state.json").write_text(json.dumps({"_data_files": files}))
        (source / split / "dataset_info.json").write_text("{}")
    (source / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    assert layout_of(source).form == (
        "Arrow, 2 files of train, 2 files of test (pictures by 'image', classes by 'label')"
    )
    converted(source)
    assert read_out(source) == expected()
    converted(source / "train", f"root={tmp_path}")
    assert without_splits(read_out(source / "train")) == without_splits(expected("train"))
    (source / "test/data-00001-of-00002.arrow").unlink()
    with pytest.raises(UserError, match="lacks data-00001-of-00002.arrow of the Arrow files"):
        layout_of(source)


@pytest.mark.parametrize("form", ["cls", "txt", "json"])
def test_webdataset_shards(tmp_path, form):
    source = tmp_path / "in"
    for split in ("train", "test"):
        pictures = list(made(split))
        for number, part in enumerate((pictures[:5], pictures[5:])):
            write_tar(source / f"pets-{split}-{number:06d}.tar", wds_files(part, form))
    if form == "cls":
        (source / "classes.txt").write_text("\n".join(CLASSES))
    layout = layout_of(source)
    assert (layout.kind, layout.form) == (
        "webdataset",
        "WebDataset, 2 files of train, 2 files of test",
    )
    assert converted(source).label_names == CLASSES
    assert read_out(source) == expected()


def test_one_tar_of_a_webdataset_and_what_is_bad_in_it(tmp_path):
    files = wds_files(numbered(), "cls")
    del files["./000003.cls"], files["./000004.PNG"]
    files["./000005.cls"] = b"\xff"
    source = write_tar(tmp_path / "train-000000.tar", files | {".hidden.png": b""})
    assert layout_of(source).kind == "webdataset"
    with pytest.raises(UserError, match=r"Example train-000000.tar:000003 in .*: it has no .cls, "):
        converted(source)
    manifest = converted(source, SKIP)
    assert manifest.skipped == {
        "train-000000.tar:000003": "it has no .cls, .json or .txt with its class",
        "train-000000.tar:000004": "it has 0 pictures, not one",
        "train-000000.tar:000005": "what stands beside it is not a class",
    }
    assert manifest.label_names == ("0", "1", "2")
    assert "no file names the classes: they are called by their numbers" in manifest.notes


def test_descriptions_are_no_classes(tmp_path):
    files = {}
    for one in numbered():
        text = f"a picture of {one.number}".encode()
        files |= {f"{one.number}.png": one.png, f"{one.number}.txt": text}
    source = write_tar(tmp_path / "x.tar", files)
    with pytest.raises(UserError, match="Each of the 24 pictures .* these are descriptions"):
        converted(source)


def test_folders_of_tfds(tmp_path):
    source = write_tfds(tmp_path / "my_test" / "1.0.0", "train", "test")
    layout = layout_of(source.parent)
    assert (layout.kind, layout.form) == ("tfds", "TFDS records, 1 file of train, 1 file of test")
    converted(source)
    assert read_out(source) == expected()
    other = write_tfds(tmp_path / "b", "train", file_format="array_record")
    with pytest.raises(UserError, match="the format array_record, and TFRecords are read.") as told:
        layout_of(other)
    assert str(told.value).endswith(
        f"tfds convert_format --dataset_dir={other} --out_file_format=tfrecord --out_dir=NEW"
    )


def test_tfds_with_train_alone(tmp_path):
    source = write_tfds(tmp_path / "in", "train")
    assert converted(source).counts == {"train": 6, "validation": 3, "test": 3}
    assert without_splits(read_out(source)) == without_splits(expected("train"))


@pytest.mark.parametrize(
    ("name", "labels", "label"),
    [
        ("{}-0.tfrecord", "1:ant\n2:bee\n3:cow\n", lambda one: {"label": one.label + 1}),
        ("{}-0.tfrecord.gz", "0:ant\n1:bee\n2:cow\n", lambda one: {"label": one.label}),
        ("{}-0.tfrecord", "ant\nbee\ncow\n", lambda one: {"label": CLASSES[one.label].encode()}),
        ("{}-0.tfrecord", "ant\nbee\ncow\n", lambda one: {"label": str(one.label).encode()}),
        ("{}-0.tfrecord", "", lambda one: {"text": CLASSES[one.label].encode()}),
        (
            "{}-00000-of-00001.gz",
            "",
            lambda one: {"label": one.label, "text": CLASSES[one.label].encode()},
        ),
    ],
    ids=["from 1", "compressed", "bytes", "digits", "text", "text beside a number"],
)
def test_records_of_other_converters(tmp_path, name, labels, label):
    source = tmp_path / "in"
    source.mkdir()
    if labels:
        (source / "labels.txt").write_text(labels)
    for split in ("train", "test"):
        data = b"".join(
            example(
                image__encoded=one.png,
                **{f"image__class__{key}": value for key, value in label(one).items()},
            )
            for one in made(split)
        )
        packed = gzip.compress(data) if name.endswith("gz") else data
        (source / name.format(split)).write_bytes(packed)
    converted(source)
    assert read_out(source) == expected()


@pytest.mark.parametrize("write", [write_parquet, write_tfds])
def test_what_is_unchanged_is_not_converted_again(tmp_path, write):
    source = write(tmp_path / "in", "train", "test")
    converted(source)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    converted(source)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    file = next(path for path in source.rglob("*") if "train" in path.name)
    file.write_bytes(file.read_bytes())
    converted(source)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} != before


@pytest.mark.parametrize("write", [write_parquet, write_tfds])
def test_it_can_be_looked_at(tmp_path, write):
    source = write(tmp_path / "in", "train", "test")
    shown = read_source(layout_of(source), STRICT)
    found = {
        (str(shown.splits[i]), shown.label_names[shown.labels[i]], shown.pixels(i).tobytes())
        for i in range(len(shown.ids))
    }
    assert found == expected()
    assert np.unique(shown.groups).tolist() == ["test", "train"]


@pytest.mark.parametrize("name", ["in.parquet", "in.arrow"])
def test_by_url_and_whole_or_not_at_all(tmp_path, name):
    table, source = table_of(list(made("train"))), tmp_path / name
    if name == "in.parquet":
        pq.write_table(table, source)
    else:
        with pa.OSFile(str(source), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
            out.write_table(table)
    data = source.read_bytes()
    with serving(data) as server:
        converted(source, f"dataset.archive={server.address}/{name}")
        assert without_splits(read_out(source)) == without_splits(expected("train"))
        server.content = data[:-700]
        server.etag = '"two"'
        with pytest.raises(UserError, match="is refused and nothing of it was kept"):
            converted(source, f"dataset.archive={server.address}/{name}")


def test_corrections_reach_pictures_inside_of_files(tmp_path):
    source = write_parquet(tmp_path / "in", "train", "test")
    converted(source)
    identities = {}
    for path in (tmp_path / "out").glob("train-*.tfrecord"):
        for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            feature = tf.train.Example.FromString(serialized).features.feature
            label = feature["image/class/label"].int64_list.value[0]
            identities[feature["image/id"].bytes_list.value[0].decode()] = label
    (fixed, label), (removed, _) = sorted(identities.items())[:2]
    other = CLASSES[(label + 1) % len(CLASSES)]
    table = tmp_path / "corrections.csv"
    table.write_text(f"id,correction\n{fixed},{other}\n{removed},remove\n")
    manifest = converted(source, f"dataset.corrections={table}")
    assert manifest.corrected == {fixed: f"{CLASSES[label]} -> {other}", removed: "removed"}
    assert len(read_out(source)) == len(expected()) - 1
