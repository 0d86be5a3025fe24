"""Folders that bear the program's mark: locked while in use, and removed only by that mark.

A killed process cannot remove what it has made. Whoever comes next can, and tells it by the mark
from what people have put beside it, and by the lock from what is in use.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

MARKER: Final = "inception-finetune.lock"  # in each folder of ours; locked while it is in use
_RANDOM: Final = "[a-z0-9_]{8}"  # what tempfile adds to a prefix


def is_marked(folder: Path) -> bool:
    """Returns whether a folder is ours; a link to one is not."""
    marker = folder / MARKER
    return not folder.is_symlink() and marker.is_file() and not marker.is_symlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Marks a folder, and locks it until this process ends, however it ends.

    Args:
      folder: it exists, and is ours or empty.

    Raises:
      BlockingIOError: another process holds the lock.
    """
    with (folder / MARKER).open("a") as marker:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextmanager
def scratch_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Makes a temporary folder, and removes those that killed processes have left beside it.

    Args:
      prefix: of its name; only folders of the same prefix are removed.
      parent: where it is made; None is the system's place for temporary files.

    Yields:
      The folder, which is removed at the end.
    """
    place = Path(tempfile.gettempdir() if parent is None else parent)
    name = re.compile(re.escape(prefix) + _RANDOM)
    with suppress(PermissionError):  # one may write into a folder and not list it
        found = [path for path in place.iterdir() if name.fullmatch(path.name)]
        # The system's place is everybody's.
        remove_unused(path for path in found if parent or path.lstat().st_uid == os.geteuid())
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    try:
        with _locked_from_the_start(folder):
            yield folder
    finally:
        _remove(folder)


def remove_unused(folders: Iterable[Path]) -> None:
    """Removes folders of ours that no process has locked, and never through a symbolic link.

    Args:
      folders: those that may go; what is not ours stays.
    """
    for folder in folders:
        # FileNotFoundError: another process removes it at the same time.
        with suppress(BlockingIOError, FileNotFoundError, PermissionError):
            if is_marked(folder):
                with (folder / MARKER).open("r+") as marker:
                    fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(folder)


@contextmanager
def _locked_from_the_start(folder: Path) -> Iterator[None]:
    """Gives the mark its name when it is locked, so that nobody finds it free before."""
    with (folder / f".{MARKER}").open("a") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # this file system has no locks: the folder stays unmarked
            pass
        else:
            Path(marker.name).rename(folder / MARKER)
        yield


def _remove(folder: Path) -> None:
    """The mark goes last, so that what a kill interrupts is still known as ours."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARKER:
            path.unlink()
    shutil.rmtree(folder)
