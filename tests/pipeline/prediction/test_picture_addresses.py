"""What pictures `predict` finds and reads, wherever they are, and what is true of them."""

import os

import fsspec
import pytest

from helpers.made_pictures import encoded
from helpers.web_server import serving
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.prediction.addresses import find_pictures
from inception_finetune.pipeline.prediction.pictures import read_pictures

NAMES = ("cat", "dog", "newt")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for number, path in enumerate(("dog/2.png", "dog/1.JPG", "cat/3.png", "4.png", "notes.txt")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(encoded(number))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(*places, lists=()):
    return list(read_pictures(find_pictures(places, lists), NAMES))


def names(*places, lists=()) -> list[str]:
    return [file.name for file in find_pictures(places, lists)]


def test_folders_named_as_a_class_say_what_is_true(folder):
    found = read(folder / "4.png", folder)
    relative = [picture.name.removeprefix(f"{folder}/") for picture in found]
    assert relative == ["4.png", "4.png", "cat/3.png", "dog/1.JPG", "dog/2.png"]
    assert [picture.truth for picture in found] == [None, None, "cat", "dog", "dog"]
    assert found[0].encoded == encoded(3) and found[4].encoded == encoded(0)


def test_patterns_are_files_and_folders_in_order(folder):
    assert names("*/*.png") == ["cat/3.png", "dog/2.png"]
    assert names("**/*.png") == ["4.png", "cat/3.png", "dog/2.png"]
    assert names("[cd]*") == ["cat/3.png", "dog/1.JPG", "dog/2.png"]
    assert names("**") == ["4.png", "cat/3.png", "dog/1.JPG", "dog/2.png", "notes.txt"]
    (folder / "a[1].png").write_bytes(encoded(0))
    assert names("a[1].png") == ["a[1].png"]  # a file that is there is no pattern
    with pytest.raises(UserError, match=r"No pictures .* in \*\.gif, which is taken for a pattern"):
        names("*.gif")


def test_a_list_is_read_line_by_line_from_its_folder(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "shots.txt"
    elsewhere.write_bytes(b"\xef\xbb\xbfa.png\r\n\n caf\xe9.png \nnone.png")
    (elsewhere.parent / "a.png").write_bytes(encoded(7))
    (elsewhere.parent / os.fsdecode(b" caf\xe9.png ")).write_bytes(encoded(8))
    first, second, third = read(lists=[elsewhere])
    assert (first.name, first.encoded) == ("a.png", encoded(7))
    assert (second.name, second.encoded) == (os.fsdecode(b" caf\xe9.png "), encoded(8))
    assert third.error == "it cannot be read (No such file or directory)"
    with pytest.raises(UserError, match="List none.txt cannot be read: No such file"):
        names(lists=["none.txt"])


def test_records_know_their_label(tmp_path, examples):
    import tensorflow as tf

    path = tmp_path / "new.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in examples.serialized:
            writer.write(record)
    found = read(path)
    assert [picture.truth for picture in found] == [*NAMES, *[None] * 7]
    assert [picture.encoded for picture in found] == examples.encoded
    assert found[3].name == examples.ids[3].decode()


@pytest.mark.parametrize("name", ["new.tfrecord", "new.tfrecord.gz"])
def test_damaged_and_empty_records_do_not_end_the_others(folder, name):
    (folder / name).write_bytes(b"")
    (folder / f"damaged.{name}").write_bytes(b"no record of any kind, nor gzip")
    found = read(name, f"damaged.{name}", "4.png")
    assert found[0].error == "there are no records in it" and found[0].name == name
    assert f"damaged.{name}" in found[1].error
    assert found[2].encoded == encoded(3)


def test_a_folder_without_pictures_is_named_before_anything_is_read(folder):
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="No pictures .* in folder empty"):
        find_pictures(["4.png", "empty"])
    with pytest.raises(UserError, match="No such file or folder: .*none.png"):
        find_pictures([folder / "none.png"])


def test_what_systems_leave_in_folders_is_not_looked_at(tmp_path):
    for path in ("cat/1.jpg", "cat/._1.jpg", "__MACOSX/cat/1.jpg", ".cache/2.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(encoded(0))
    assert names(tmp_path) == [str(tmp_path / "cat/1.jpg")]


def test_files_that_are_gone_or_no_files_are_rows(folder):
    (folder / "list.txt").write_text("dog\nlost.png\na\0b.png\n4.png\n")
    (folder / "lost.png").symlink_to("nowhere")
    reasons = [picture.error for picture in read(lists=["list.txt"])]
    assert reasons[0] == "it cannot be read (Is a directory)"
    assert reasons[1] == "it cannot be read (No such file or directory)"
    assert "null byte" in reasons[2] and reasons[3] == ""


def test_an_object_store_has_folders_patterns_and_files():
    store = fsspec.filesystem("memory")
    for path in ("/shots/dog/1.png", "/shots/dog/2.txt", "/shots/cat/3.jpg", "/shots/4.png"):
        store.pipe(path, encoded(int(path[-5])))
    try:
        found = read("memory://shots")
        assert [one.name for one in found] == [
            "memory:///shots/4.png",
            "memory:///shots/cat/3.jpg",
            "memory:///shots/dog/1.png",
        ]
        assert [one.truth for one in found] == [None, "cat", "dog"]
        assert [one.encoded for one in found] == [encoded(4), encoded(3), encoded(1)]
        assert names("memory://shots/*/*.png") == ["memory:///shots/dog/1.png"]
        [gone] = read("memory://shots/none.png")
        assert gone.error.startswith("it cannot be read (FileNotFoundError")
        with pytest.raises(UserError, match="No pictures .* in memory://shots/x/"):
            store.mkdir("/shots/x")
            names("memory://shots/x/")
        with pytest.raises(UserError, match="No such file or folder: memory://shots/y/. Check"):
            names("memory://shots/y/")
    finally:
        store.rm("/shots", recursive=True)


def test_an_unknown_scheme_and_a_store_without_bucket_are_told():
    with pytest.raises(UserError, match=r"nope://a/b/ cannot be listed \(ValueError: Protocol"):
        find_pictures(["nope://a/b/"])
    [row] = read("nope://a/b.png")
    assert "Protocol not known: nope" in row.error


def test_the_web_is_read_and_keeps_secrets(folder):
    with serving(encoded(5)) as server:
        address = f"{server.address}/dog/1.png"
        secret = address.replace("://", "://alice:S3CRET@") + "?X-Amz-Signature=S1GN"
        (folder / "list.txt").write_text(f"{secret}\n")
        server.ranges = False
        one, same = read(secret, lists=["list.txt"])
        assert one.encoded == same.encoded == encoded(5)
        assert one.truth == "dog" and one.name == same.name == address
        assert server.paths == ["/dog/1.png?X-Amz-Signature=S1GN"] * len(server.paths)
        server.statuses = [404] * 4
        [gone] = read(secret)
        assert gone.error.startswith("it cannot be read (FileNotFoundError")
        assert "S3CRET" not in str(gone) and "S1GN" not in str(gone)
    [down] = read(address)
    assert down.error.startswith("it cannot be read (")
