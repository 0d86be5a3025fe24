"""What check-data is given becomes records: any layout, with the model's numbers of the classes."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.encoded_pictures import encode
from helpers.made_layouts import CLASSES, made
from helpers.made_pictures import good_shards, write_records
from helpers.web_server import serving
from inception_finetune.components import features
from inception_finetune.components.dataset.probe import decode_pixels
from inception_finetune.components.dataset.settings import Dataset
from inception_finetune.components.drift.records import read_records
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.drift.new_examples import NewExamples, as_records


def read(
    place: Path, names=("cow", "bee", "ant"), labelled=True, address: str = "", **dataset: str
):
    """The labels by pixels, and what is said of the data; `address` is given instead of a path."""
    import tensorflow as tf

    config = Config(cache=str(place.parent / "cache"), dataset=Dataset(**dataset))
    with as_records(config, [address or str(place)], names, labelled=labelled) as new:
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
    (tmp_path / "in.zip").write_bytes(zipped(root))
    rows = "".join(f"{p.relative_to(root)},{p.parent.name}\n" for p in root.rglob("*.webp"))
    (root / "list.csv").write_text(f"path,label\n{rows}")
    expected = {one.pixels.tobytes(): [2 - one.label] for one in made("train")}
    assert read(tmp_path / "in.zip")[0] == read(root / "list.csv")[0] == expected


def zipped(root: Path) -> bytes:
    """An archive of the folder's pictures."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(root.rglob("*.webp")):
            archive.write(path, path.relative_to(root))
    return buffer.getvalue()


def test_a_url_is_fetched_as_for_a_run(tmp_path, capsys):
    expected = {one.pixels.tobytes(): [2 - one.label] for one in made("train")}
    whole = zipped(folder(tmp_path / "made"))
    with serving(whole) as server:
        server.drops = [len(whole) // 2]  # and it goes on from there
        address = server.address.replace("://", "://me:S3CRET@") + "/new.zip?key=S3CRET"
        assert read(tmp_path / "in", address=address)[0] == expected
        printed = capsys.readouterr().err
        assert f"the connection broke after {len(whole) // 2} bytes" in printed
        assert "new.zip: class folders, 3 classes, no splits, in the archive" in printed
        assert "S3CRET" not in printed
        [kept] = (tmp_path / "cache/archives").glob("*-new.zip")
        assert kept.read_bytes() == whole
        server.requests.clear()
        assert read(tmp_path / "in", address=address)[0] == expected
        assert [one.get("If-None-Match") for one in server.requests] == [server.etag]
        server.content = whole[:-9]
        with pytest.raises(UserError, match="other.zip is refused and nothing of it was kept: "):
            read(tmp_path / "in", address=f"{server.address}/other.zip")
        server.statuses = [404]
        with pytest.raises(UserError, match="none.zip: the server answered 404 Not Found. Check t"):
            read(tmp_path / "in", address=f"{server.address}/none.zip")
    unlabelled, _ = read(tmp_path / "in", labelled=False, address=f"file://{tmp_path}/made")
    assert unlabelled == {pixels: [] for pixels in expected}


def test_what_no_run_reads_is_one_line(tmp_path):
    with pytest.raises(UserError, match="'ftp://x/a.zip' is not a source that can be read: only"):
        read(tmp_path / "in", address="ftp://x/a.zip")
    with pytest.raises(UserError, match="new.rar is not an archive that can be read"):
        read(tmp_path / "in", address="https://x/new.rar")


def test_the_embedded_digits_and_a_folder_that_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    found, new = read(tmp_path / "in", names, address="digits")
    assert len(found) == 1797 and new.changes == []
    folder(tmp_path / "digits")
    expected = {one.pixels.tobytes(): [2 - one.label] for one in made("train")}
    assert read(tmp_path / "in", address="./digits")[0] == expected


def test_named_columns_are_those_of_a_table_and_of_no_other_data(tmp_path):
    root = folder(tmp_path / "in")
    rows = "".join(f"{p.relative_to(root)};{p.parent.name};0\n" for p in root.rglob("*.webp"))
    (root / "list.csv").write_text(f"wo;was;label\n{rows}")
    named = {"image_column": "wo", "label_column": "was"}
    expected = {one.pixels.tobytes(): [2 - one.label] for one in made("train")}
    assert read(root / "list.csv", **named)[0] == expected
    with pytest.raises(UserError, match="list.csv has no column 'Was', but wo, was, label. Set d"):
        read(root / "list.csv", image_column="wo", label_column="Was")
    (root / "list.csv").unlink()
    assert read(root, **named)[0] == expected


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
    with as_records(config, [str(file)], ("dog", "cat"), labelled=True) as new:
        assert new.files == [str(file)]
    (root / "labels.txt").unlink()
    with as_records(config, [str(root)], ("dog", "cat"), labelled=True) as new:
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
        as_records(config, [str(tmp_path / "none")], CLASSES, labelled=True),
    ):
        pass
    new = NewExamples(left_out={"a": "b"})
    assert new.changes == ["1 examples cannot be read, such as a (b)"]
