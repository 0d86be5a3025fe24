"""Archives that try to write elsewhere, or break off."""

import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from inception_finetune.components.errors import UserError
from inception_finetune.components.io import tar
from inception_finetune.components.io.tar import extract_tar, is_tar


def write_tar(
    path: Path, *members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w:gz"
) -> Path:
    with tarfile.open(path, mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def special(name: str, kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_unpacks_files_and_folders(tmp_path, mode):
    members = (special("./model", tarfile.DIRTYPE, ""), ("./model/a.pb", b"abc"), ("b", b""))
    extract_tar(write_tar(tmp_path / "x.tar", *members, mode=mode), tmp_path / "out" / "x")
    out = tmp_path / "out" / "x"
    assert {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()} == {
        "model/a.pb": b"abc",
        "b": b"",
    }
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (("../evil", b"x"), "outside"),
        (("good/../../evil", b"x"), "outside"),
        (("/tmp/evil", b"x"), "outside"),
        (special("evil", tarfile.SYMTYPE), "neither a plain file"),
        (special("evil", tarfile.LNKTYPE), "neither a plain file"),
        (special("evil", tarfile.FIFOTYPE), "neither a plain file"),
        (special("evil", tarfile.CHRTYPE), "neither a plain file"),
    ],
)
def test_refuses_hostile_members_and_leaves_nothing(tmp_path, member, reason):
    archive = write_tar(tmp_path / "x.tar.gz", ("good/a", b"abc"), member)
    with pytest.raises(UserError, match=f"{reason}.*"):
        extract_tar(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]


def test_refuses_what_would_fill_the_disk(tmp_path):
    archive = write_tar(tmp_path / "x.tar.gz", ("a", bytes(600)), ("b", bytes(600)))
    with pytest.raises(UserError, match="over 1000 bytes"):
        extract_tar(archive, tmp_path / "out", limit=1000)
    assert not (tmp_path / "out").exists()


def header(kind: bytes, size: int) -> bytes:
    """A member of so many bytes, which are not there."""
    member = special("x", kind, "")
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE]
)
@pytest.mark.parametrize("first", [True, False])
def test_a_name_of_gigabytes_is_not_read(tmp_path, kind, first):
    archive = tmp_path / "x.tar"
    with archive.open("wb") as file:
        file.write((b"" if first else header(tarfile.REGTYPE, 0)) + header(kind, 3 << 30))
        file.truncate(3 << 30)  # sparse
    tracemalloc.start()
    try:
        assert is_tar(archive) is not first
        told = "could not be opened" if first else "a name or attributes of 3,221,225,472 bytes"
        with pytest.raises(UserError, match=told):
            extract_tar(archive, tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_names_of_names_without_end_are_one_line(tmp_path):
    archive = tmp_path / "x.tar"
    archive.write_bytes((header(tarfile.GNUTYPE_LONGNAME, 512) + bytes(512)) * 5000)
    with pytest.raises(UserError, match="recursion"):
        extract_tar(archive, tmp_path / "out")


def test_attributes_for_all_members_are_bounded(tmp_path):
    archive = tmp_path / "x.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(4):
            values = {f"key{number}": "x" * 100_000}
            tar.fileobj.write(tarfile.TarInfo.create_pax_global_header(values))
            tar.addfile(tarfile.TarInfo(f"member {number}"))
    with pytest.raises(UserError, match="attributes of 300,012 bytes for all members"):
        extract_tar(archive, tmp_path / "out")


def test_refuses_more_files_than_a_disk_should_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(tar, "MAX_FILES", 2)
    archive = write_tar(tmp_path / "x.tar.gz", ("a", b""), ("b", b""), ("c", b""))
    with pytest.raises(UserError, match="more than 2 files"):
        extract_tar(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_headers_count_towards_what_would_fill_the_disk(tmp_path):
    archive = write_tar(tmp_path / "x.tar.gz", *[(f"{number}", b"") for number in range(30)])
    with pytest.raises(UserError, match="over 10000 bytes"):
        extract_tar(archive, tmp_path / "out", limit=10_000)


def test_members_that_were_read_take_no_memory(tmp_path):
    archive = write_tar(tmp_path / "x.tar", *[(f"{number}", b"") for number in range(3000)])
    tracemalloc.start()
    try:
        tar.require_whole_tar(archive)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("sparse", [tarfile.GNUTYPE_SPARSE, {"GNU.sparse.major": "1"}])
def test_the_map_of_a_sparse_file_is_not_read(tmp_path, sparse):
    archive = tmp_path / "x.tar"
    if isinstance(sparse, bytes):
        archive.write_bytes(header(sparse, 0) + bytes(1024))
    else:
        with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as made:
            member = tarfile.TarInfo("x")
            member.pax_headers = sparse | {"GNU.sparse.minor": "0"}
            member.size = 512
            made.addfile(member, io.BytesIO(b"9" * 512))
    with pytest.raises(UserError, match="neither a plain file"):
        extract_tar(archive, tmp_path / "out")


def test_a_name_with_nul_is_refused(tmp_path):
    member = tarfile.TarInfo("x")
    member.pax_headers = {"path": "a\0b"}
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member)
    with pytest.raises(UserError, match=r"'a\\x00b' is not a name that a file can have"):
        extract_tar(tmp_path / "x.tar", tmp_path / "out")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_truncated_archive(tmp_path, mode, kept):
    noise = [(str(i), bytes(range(256)) * 40) for i in range(8)]
    archive = write_tar(tmp_path / "x.tar.gz", *noise, mode=mode)
    data = archive.read_bytes()
    # In a plain tar these cuts fall into a header, into data, and between two members.
    cut = (
        {0.02: 300, 0.5: 30_000, 0.9: 4 * (512 + 10_240)}[kept]
        if mode == "w"
        else int(len(data) * kept)
    )
    archive.write_bytes(data[:cut])
    with pytest.raises(UserError, match="damaged or incomplete"):
        extract_tar(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]


def test_a_changed_byte_is_noticed(tmp_path):
    archive = write_tar(tmp_path / "x.tar.gz", ("a", bytes(5000)))
    data = bytearray(archive.read_bytes())
    data[-6] ^= 1  # gzip's checksum
    archive.write_bytes(data)
    with pytest.raises(UserError, match="damaged or incomplete"):
        extract_tar(archive, tmp_path / "out")


def test_never_unpacks_over_files(tmp_path):
    archive = write_tar(tmp_path / "x.tar.gz", ("a", b"new"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_bytes(b"mine")
    with pytest.raises(UserError, match="already holds files"):
        extract_tar(archive, tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == b"mine"
