"""Tar archives from untrusted sources: reading and unpacking them writes nothing elsewhere."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.marked_folder import scratch_folder

CHUNK: Final = 1 << 18  # bytes

# The largest thing unpacked here, CIFAR-10, is 0.2 GB. gzip packs zeros 1000:1, so without a bound
# a download of a few MB could fill the disk.
MAX_UNPACKED_BYTES: Final = 4 << 30
MAX_FILES: Final = 5_000_000  # of an archive that is unpacked; empty ones pack to next to nothing
# What tar writes before a member whose name is long or whose attributes are many; `tarfile` reads
# it into memory whole. Linux' longest path has 4 KiB.
MAX_HEADER_BYTES: Final = 1 << 18
_HEADERS: Final = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
_ERRORS: Final = (
    *(OSError, EOFError, RecursionError, tarfile.TarError, zlib.error, lzma.LZMAError),
)


class _TarInfo(tarfile.TarInfo):
    """A member; `tarfile` also reads through it what stands before one, such as a long name."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _HEADERS and self.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a name or attributes of {self.size:,} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:  # is refused, so its map need not be read
            self.sparse = []  # type: ignore[assignment]
            return self._proc_builtin(tar)  # type: ignore[attr-defined, no-any-return]
        return super()._proc_member(tar)  # type: ignore[misc, no-any-return]

    def _proc_gnusparse_10(self, member: tarfile.TarInfo, *_: object) -> None:
        member.sparse = []  # type: ignore[assignment]


@contextmanager
def tar_files(
    archive: Path, limit: int = MAX_UNPACKED_BYTES
) -> Iterator[Iterator[tuple[PurePosixPath, IO[bytes]]]]:
    """Iterates over the regular files of a tar or tar.gz, in its order.

    Args:
      archive: path of the archive; its source need not be trusted.
      limit: bytes that it may unpack to.

    Yields:
      An iterator of (path in the archive, open file).

    Raises:
      UserError: an absolute path, ``..``, NUL in a name, a link or a device; more than `limit`
        bytes, headers included; a damaged or truncated archive. Also raised while a file is being
        read.
    """
    try:
        with tarfile.open(archive, tarinfo=_TarInfo) as tar:
            yield _checked_files(archive, tar, limit)
    except _ERRORS as error:
        reason = str(error).partition("\n")[0].rstrip(":")  # tarfile lists all that it has tried
        raise UserError(
            f"Cannot unpack {archive}: {reason}; it is damaged or incomplete. Fetch it again."
        ) from error


def _checked_files(
    archive: Path, tar: tarfile.TarFile, limit: int
) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    while member := tar.next():
        # Each would stay in memory, and a small file can hold millions.
        tar.members.clear()  # type: ignore[attr-defined]
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise UserError(
                f"{archive} is refused: {member.name!r} leads outside the archive. Take an archive "
                "from a source that you trust."
            )
        if not (member.isreg() or member.isdir()) or member.issparse():
            raise UserError(
                f"{archive} is refused: {member.name!r} is neither a plain file nor a directory. "
                "Pack it again without links and devices."
            )
        if "\0" in member.name:
            raise UserError(
                f"{archive} is refused: {member.name!r} is not a name that a file can have. Pack "
                "it again."
            )
        attributes = sum(len(key) + len(str(value)) for key, value in tar.pax_headers.items())
        if attributes > MAX_HEADER_BYTES:  # of all members, from headers of their own
            raise tarfile.ReadError(f"attributes of {attributes:,} bytes for all members")
        if tar.offset > limit:  # where the next member begins, in unpacked bytes
            raise UserError(
                f"{archive} is refused: it unpacks to over {limit} bytes. Unpack it yourself "
                "and give the folder."
            )
        if file := tar.extractfile(member):
            yield path, file
    _check_end(tar)


def _check_end(tar: tarfile.TarFile) -> None:
    """Raises an error for an archive cut between two members, which `tarfile` accepts."""
    stream = tar.fileobj
    assert stream is not None
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("unexpected end of data")
    while stream.read(CHUNK):  # gzip compares its checksum at the very end
        pass


def is_tar(path: Path) -> bool:
    """Returns whether a file begins as a tar, compressed or not.

    `tarfile.is_tarfile` would read a first header of any size.

    Args:
      path: of the file.
    """
    try:
        with tarfile.open(path, tarinfo=_TarInfo):
            return True
    except _ERRORS:
        return False


def require_whole_tar(archive: Path, limit: int = MAX_UNPACKED_BYTES) -> None:
    """Reads the whole archive to verify that it is neither damaged nor truncated.

    Args:
      archive: path of the archive; its source need not be trusted.
      limit: bytes that it may unpack to.

    Raises:
      UserError: as `tar_files`.
    """
    with tar_files(archive, limit) as files:
        for _ in files:
            pass


def extract_tar(archive: Path, directory: Path, limit: int = MAX_UNPACKED_BYTES) -> None:
    """Unpacks a tar or tar.gz, completely or not at all.

    Args:
      archive: path of the archive; its source need not be trusted.
      directory: target folder, which must be missing or empty.
      limit: bytes that it may unpack to.

    Raises:
      UserError: as `tar_files`, or `directory` holds files, or there are too many files.
    """
    if directory.exists() and any(directory.iterdir()):
        raise UserError(f"Cannot unpack {archive}: {directory} already holds files. Remove it.")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(f".{directory.name}-", directory.parent) as scratch:
        unpacked = scratch / directory.name
        unpacked.mkdir()
        with tar_files(archive, limit) as files:
            for number, (path, file) in enumerate(files):
                if number >= MAX_FILES:
                    raise UserError(
                        f"{archive} is refused: it holds more than {MAX_FILES:,} files. Unpack it "
                        "yourself and give the folder."
                    )
                target = unpacked / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as copy:
                    shutil.copyfileobj(file, copy)
        unpacked.replace(directory)
