"""Archives of files (zip, tar, tar.gz): what they hold, and their unpacked copy in the cache."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from inception_finetune.components.dataset.archive import META, TEST_BATCH
from inception_finetune.components.dataset.tree import PICTURE_SUFFIXES, folders
from inception_finetune.components.io.tar import (
    MAX_UNPACKED_BYTES,
    extract_tar,
    is_tar,
    require_whole_tar,
    tar_files,
)
from inception_finetune.components.io.zip import extract_zip, is_zip, require_whole_zip

LABEL_SUFFIXES: Final = (".cls", ".json", ".txt")  # in a WebDataset, beside a picture
_SUFFIXES: Final = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip")
_PEEKED: Final = 200  # files by which a tar is judged
# Pictures do not pack: what unpacks to more than this many times its size is no data set of them.
_MOST_TIMES: Final = 4
_BATCH: Final = re.compile(r"data_batch_\d+")
_VERSION: Final = re.compile(r"[0-9a-f]{16}")


def is_archive(path: Path) -> bool:
    """Returns whether a file is a zip or tar, by its name or else by its beginning."""
    return path.name.lower().endswith(_SUFFIXES) or is_zip(path) or is_tar(path)


def content_of(path: Path) -> Literal["cifar", "webdataset", "files"]:
    """Judges an archive by the names of its first files.

    Raises:
      UserError: it is damaged or hostile.
    """
    if is_zip(path):
        return "files"
    pictures: set[str] = set()
    labels: set[str] = set()
    with tar_files(path, limit_of(path)) as members:
        for name, _ in islice(members, _PEEKED):
            if name.name in (META, TEST_BATCH) or _BATCH.fullmatch(name.name):
                return "cifar"
            suffix = name.suffix.lower()
            if suffix in PICTURE_SUFFIXES:
                pictures.add(key_of(name))
            elif suffix in LABEL_SUFFIXES:
                labels.add(key_of(name))
            if pictures & labels:
                return "webdataset"
    return "files"


def key_of(path: PurePosixPath) -> str:
    """Returns what the files of one example share: the path up to the name's first dot."""
    return str(path.with_name(path.name.split(".")[0] or path.name))


def limit_of(archive: Path) -> int:
    """Returns how many bytes an archive of pictures may unpack to."""
    return max(MAX_UNPACKED_BYTES, _MOST_TIMES * archive.stat().st_size)


def require_whole_archive(path: Path) -> None:
    """Reads a whole archive to verify that it is neither damaged nor truncated.

    Raises:
      UserError: it is, or hostile.
    """
    if is_zip(path):
        require_whole_zip(path, limit_of(path))
    else:
        require_whole_tar(path, limit_of(path))


def unpack(archive: Path, cache: Path | None) -> Path:
    """Unpacks an archive once; an older version's copy is removed.

    Args:
      archive: its source need not be trusted.
      cache: receives a folder for the archive; None makes a temporary one.

    Returns:
      The folder with what it holds.

    Raises:
      UserError: the archive is damaged or hostile, or there is no space.
    """
    status = archive.stat()
    place = hashlib.sha256(str(archive.resolve()).encode(errors="surrogateescape")).hexdigest()[:12]
    state = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    version = hashlib.sha256(state.encode()).hexdigest()[:16]
    parent = (cache or Path(tempfile.gettempdir()) / "inception-finetune-unpacked") / place
    target = parent / version
    if target.is_dir():
        return target
    extract = extract_zip if is_zip(archive) else extract_tar
    extract(archive, target, limit_of(archive))
    for folder in folders(parent):
        if folder != target and _VERSION.fullmatch(folder.name) and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
    return target
