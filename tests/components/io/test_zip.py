"""Zip archives that try to write elsewhere, to fill the disk, or break off."""

import stat
import warnings
import zipfile
from pathlib import Path

import pytest

from inception_finetune.components.errors import UserError
from inception_finetune.components.io import zip as zip_module
from inception_finetune.components.io.zip import extract_zip, is_zip, require_whole_zip


def write_zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def special(kind: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("evil")
    member.create_system, member.external_attr = 3, (kind | 0o777) << 16
    return member


def packed_by(method: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("evil")
    member.compress_type = method
    return member


def test_unpacks_files_and_folders_with_unicode_names(tmp_path):
    members = (("katze/größe.jpg", b"abc"), ("leer/", b""), ("hund\\1.jpg", b"d"))
    archive = write_zip(tmp_path / "x.zip", *members)
    extract_zip(archive, tmp_path / "out" / "x")
    out = tmp_path / "out" / "x"
    assert {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()} == {
        "katze/größe.jpg": b"abc",
        "hund/1.jpg": b"d",
    }
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x"]
    require_whole_zip(archive)
    assert is_zip(archive) and not is_zip(out / "hund/1.jpg") and not is_zip(tmp_path / "none")


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("../evil", "outside"),
        ("good/../../evil", "outside"),
        ("..\\evil", "outside"),
        ("/tmp/evil", "outside"),
        ("C:\\evil", "outside"),
        (special(stat.S_IFLNK), "neither a plain file"),
        (special(stat.S_IFIFO), "neither a plain file"),
        (packed_by(zipfile.ZIP_LZMA), "neither stored nor deflated"),
        (packed_by(zipfile.ZIP_BZIP2), "neither stored nor deflated"),
        ("good/a", "File exists"),
        ("good/a/b", "Not a directory|File exists"),
        ("x" * 300, "File name too long"),
    ],
)
def test_refuses_hostile_members_and_leaves_nothing(tmp_path, member, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the second good/a
        archive = write_zip(tmp_path / "x.zip", ("good/a", b"abc"), (member, b"/etc/passwd"))
    with pytest.raises(UserError, match=reason) as error:
        extract_zip(archive, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_refuses_what_would_fill_the_disk(tmp_path, monkeypatch):
    archive = write_zip(tmp_path / "x.zip", ("a", bytes(600)), ("b", bytes(600)))
    with pytest.raises(UserError, match="over 1000 bytes"):
        extract_zip(archive, tmp_path / "out", 1000)
    with pytest.raises(UserError, match="over 1000 bytes"):
        require_whole_zip(archive, 1000)
    monkeypatch.setattr(zip_module, "MAX_FILES", 1)
    with pytest.raises(UserError, match="holds 2 files, and at most 1"):
        extract_zip(archive, tmp_path / "out")


def test_what_unpacks_to_more_than_it_claims_is_damaged(tmp_path):
    path = write_zip(tmp_path / "x.zip", ("a", bytes(100_000)))
    size = (100_000).to_bytes(4, "little")
    assert path.read_bytes().count(size) == 2  # of the file, and in the directory
    path.write_bytes(path.read_bytes().replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(UserError, match="Cannot unpack .*damaged or incomplete"):
        extract_zip(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-30],
        lambda data: data[:40] + b"\xff" * 20 + data[60:],
        lambda data: data.replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"),
    ],
    ids=["cut", "changed", "encrypted"],
)
def test_damage_is_one_line(tmp_path, damage):
    path = write_zip(tmp_path / "x.zip", ("a", bytes(range(256)) * 9))
    path.write_bytes(damage(path.read_bytes()))
    for read in (require_whole_zip, lambda path: extract_zip(path, tmp_path / "out")):
        with pytest.raises(UserError, match="damaged|encrypted") as error:
            read(path)
        assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]
