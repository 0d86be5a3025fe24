"""Archives of pictures: unpacked once, read like the folder in them, and safe."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from helpers.made_layouts import CLASSES, converted, expected, made, read_out
from helpers.web_server import serving
from inception_finetune.components.dataset.layout import layout_of
from inception_finetune.components.errors import UserError


def members(*splits: str) -> dict[str, bytes]:
    return {
        f"pets/{one.split}/{CLASSES[one.label]}/{one.number}.PNG": one.png for one in made(*splits)
    } | {"__MACOSX/pets/._x": b"", "pets/.DS_Store": b"", "pets/README": b"text"}


def pack(path: Path, content: dict[str, bytes]) -> Path:
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "noname"])
def test_an_archive_of_class_folders(tmp_path, name, capsys):
    source = pack(tmp_path / name, members())
    converted(source)
    assert read_out(source) == expected()
    told = capsys.readouterr().err.splitlines()[0]
    assert told == f"Layout of {source}: folders train/CLASS, test/CLASS, 3 classes, in the archive"


def test_it_is_unpacked_and_converted_once_for_each_version(tmp_path):
    source = pack(tmp_path / "x.zip", members())
    before = converted(source)
    [unpacked] = (tmp_path / "cache/unpacked").glob("*/*")
    shards = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    converted(source)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == shards
    # Unpacked again elsewhere, the content is the same, and so are the records.
    assert converted(source, f"cache={tmp_path / 'other'}").fingerprint == before.fingerprint
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == shards
    pack(source, members("train", "validation", "test"))
    assert converted(source).counts == {"train": 12, "validation": 6, "test": 6}
    [again] = (tmp_path / "cache/unpacked").glob("*/*")
    assert again != unpacked


def test_a_competitions_archive_holds_a_list(tmp_path):
    content = {f"train/{one.number}.png": one.png for one in made("train")}
    rows = "".join(f"{one.number},{CLASSES[one.label]}\n" for one in made("train"))
    source = pack(tmp_path / "x.zip", content | {"train.csv": f"id,label\n{rows}".encode()})
    converted(source)
    assert {row[1:] for row in read_out(source)} == {row[1:] for row in expected("train")}


def test_by_url(tmp_path):
    data = pack(tmp_path / "x.zip", members()).read_bytes()
    with serving(data) as server:
        converted(tmp_path / "x", f"dataset.archive={server.address}/pets.zip?download=1")
    assert read_out(tmp_path / "x") == expected()


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_hostile_and_damaged_archives_leave_nothing(tmp_path, name):
    source = pack(tmp_path / name, members() | {"../evil": b"x"})
    with pytest.raises(UserError, match="leads outside the archive"):
        converted(source)
    pack(source, members())
    source.write_bytes(source.read_bytes()[:-300])
    with pytest.raises(UserError, match="damaged or incomplete"):
        converted(source)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [source] and not (tmp_path / "out").exists()


def test_what_is_in_it_must_be_a_layout(tmp_path):
    source = pack(tmp_path / "x.zip", {"a.txt": b"text", "b.doc": b""})
    with pytest.raises(UserError, match=rf"^{source} has the classes \[\]: two or more"):
        converted(source)
    with pytest.raises(UserError, match="dataset.layout=webdataset does not fit .*it needs tar fi"):
        layout_of(source, "webdataset", tmp_path / "cache")
