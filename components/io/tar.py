"""Tar archives of unknown origin: read or unpacked so that they can write nothing elsewhere."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

from inception_finetune.components.errors import UserError

CHUNK: Final = 1 << 18  # bytes

# The largest thing unpacked here, CIFAR-10, is 0.2 GB. gzip packs zeros 1000:1, so without a bound
# a download of a few MB could fill the disk.
MAX_UNPACKED_BYTES: Final = 4 << 30


@contextmanager
def tar_files(archive: Path) -> Iterator[Iterator[tuple[PurePosixPath, IO[bytes]]]]:
    """Yields the regular files of a tar or tar.gz of unknown origin, in its order.

    Raises:
      UserError: an absolute path, ``..``, a link or a device; more than `MAX_UNPACKED_BYTES`;
        a damaged or truncated archive; also when that shows while a file is being read.
    """
    try:
        with tarfile.open(archive) as tar:
            yield _checked_files(archive, tar)
    except (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError) as error:
        reason = str(error).partition("\n")[0].rstrip(":")  # tarfile lists all that it has tried
        raise UserError(
            f"cannot unpack {archive}: {reason}; it is damaged or incomplete, fetch it again"
        ) from error


def _checked_files(
    archive: Path, tar: tarfile.TarFile
) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    unpacked = 0
    for member in tar:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"{archive} is refused: {member.name!r} leads outside the archive")
        if not (member.isreg() or member.isdir()) or member.issparse():
            raise UserError(
                f"{archive} is refused: {member.name!r} is neither a plain file nor a directory"
            )
        unpacked += member.size
        if unpacked > MAX_UNPACKED_BYTES:
            raise UserError(f"{archive} is refused: it unpacks to over {MAX_UNPACKED_BYTES} bytes")
        if file := tar.extractfile(member):
            yield path, file
    _check_end(tar)


def _check_end(tar: tarfile.TarFile) -> None:
    """`tarfile` takes a cut between two members, or garbage there, for the end of the archive."""
    stream = tar.fileobj
    assert stream is not None
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("unexpected end of data")
    while stream.read(CHUNK):  # gzip compares its checksum at the very end
        pass


def require_whole_tar(archive: Path) -> None:
    """Reads all of it.

    Raises:
      UserError: as `tar_files`.
    """
    with tar_files(archive) as files:
        for _ in files:
            pass


def extract_tar(archive: Path, directory: Path) -> None:
    """Unpacks a tar or tar.gz into `directory`, which must not exist or be empty.

    Raises:
      UserError: as `tar_files`, or `directory` holds files. Nothing is left then.
    """
    if directory.exists() and any(directory.iterdir()):
        raise UserError(f"cannot unpack {archive}: {directory} already holds files; remove it")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as scratch:
        unpacked = Path(scratch) / directory.name
        unpacked.mkdir()
        with tar_files(archive) as files:
            for path, file in files:
                target = unpacked / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as copy:
                    shutil.copyfileobj(file, copy)
        unpacked.replace(directory)
