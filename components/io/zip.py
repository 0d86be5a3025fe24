"""Zip archives from untrusted sources: reading and unpacking them writes nothing elsewhere."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.components.io.tar import CHUNK, MAX_FILES, MAX_UNPACKED_BYTES

_BEGINS: Final = (b"PK\x03\x04", b"PK\x05\x06")  # with a file, or empty
_ENCRYPTED: Final = 1  # bit of a member's flags
_PACKED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may ask for any memory
_ERRORS: Final = (
    *(OSError, EOFError, ValueError, RecursionError, NotImplementedError),
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error),
)


def is_zip(path: Path) -> bool:
    """Returns whether a file begins as a zip."""
    try:
        with path.open("rb") as file:
            return file.read(4) in _BEGINS
    except OSError:
        return False


def require_whole_zip(archive: Path, limit: int = MAX_UNPACKED_BYTES) -> None:
    """Reads the whole archive to verify that it is neither damaged nor truncated.

    Args:
      archive: its source need not be trusted.
      limit: bytes that it may unpack to.

    Raises:
      UserError: as `extract_zip`.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            for member, _ in _checked_members(archive, opened, limit):
                with opened.open(member) as file:
                    while file.read(CHUNK):
                        pass
    except _ERRORS as error:
        raise _damaged(archive, error) from error


def extract_zip(archive: Path, directory: Path, limit: int = MAX_UNPACKED_BYTES) -> None:
    """Unpacks a zip, completely or not at all.

    Args:
      archive: its source need not be trusted.
      directory: target folder, which must be missing or empty.
      limit: bytes that it may unpack to.

    Raises:
      UserError: an absolute path, ``..``, NUL in a name, a link or a device; encryption; more than
        `limit` bytes or too many files; a damaged or truncated archive; or `directory` holds files.
    """
    if directory.exists() and any(directory.iterdir()):
        raise UserError(f"Cannot unpack {archive}: {directory} already holds files. Remove it.")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with (
            zipfile.ZipFile(archive) as opened,
            scratch_folder(f".{directory.name}-", directory.parent) as scratch,
        ):
            unpacked = scratch / directory.name
            unpacked.mkdir()
            for member, path in _checked_members(archive, opened, limit):
                target = unpacked / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as file, target.open("xb") as copy:
                    shutil.copyfileobj(file, copy, CHUNK)
            unpacked.replace(directory)
    except _ERRORS as error:
        raise _damaged(archive, error) from error


def _checked_members(
    archive: Path, opened: zipfile.ZipFile, limit: int
) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Returns the files with their paths; what they claim to unpack to is what is read of them."""
    members = opened.infolist()
    if len(members) > MAX_FILES:
        raise UserError(
            f"{archive} is refused: it holds {len(members):,} files, and at most {MAX_FILES:,} are "
            "unpacked. Unpack it yourself and give the folder."
        )
    if sum(member.file_size for member in members) > limit:
        raise UserError(
            f"{archive} is refused: it unpacks to over {limit} bytes. Unpack it yourself and give "
            "the folder."
        )
    checked = []
    for member in members:
        name = member.orig_filename
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]:
            raise UserError(
                f"{archive} is refused: {name!r} leads outside the archive. Take an archive from "
                "a source that you trust."
            )
        if "\0" in name:
            raise UserError(
                f"{archive} is refused: {name!r} is not a name that a file can have. Pack it again."
            )
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UserError(
                f"{archive} is refused: {name!r} is neither a plain file nor a directory. Pack it "
                "again without links and devices."
            )
        if member.flag_bits & _ENCRYPTED:
            raise UserError(
                f"{archive} is refused: {name!r} is encrypted. Unpack it yourself and give the "
                "folder."
            )
        if member.compress_type not in _PACKED:
            raise UserError(
                f"{archive} is refused: {name!r} is neither stored nor deflated. Pack it again, or "
                "unpack it and give the folder."
            )
        if not member.is_dir() and path.parts:
            checked.append((member, path))
    return checked


def _damaged(archive: Path, error: Exception) -> UserError:
    reason = (getattr(error, "strerror", None) or str(error)).partition("\n")[0]
    return UserError(
        f"Cannot unpack {archive}: {reason or type(error).__name__}; it is damaged or incomplete. "
        "Fetch it again."
    )
