"""Folders of trainings, named by a hash of what is trained; only folders of ours are removed."""

import fcntl
import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from inception_finetune.components.errors import UserError

MARKER: Final = "inception-finetune.lock"  # in each folder of ours; locked while it is in use
_NAME: Final = re.compile("[0-9a-f]{16}")  # of a digest's first half


@contextmanager
def owned_folder(parent: str, identity: Iterable[str]) -> Iterator[str]:
    """Locks the folder of a training, and removes the folders of other trainings.

    A killed training finds its folder again by its identity. The folder of a training that is not
    repeated next is removed, so that checkpoints do not accumulate. Foreign files stay, and so does
    what another process is using; nothing is removed through a symbolic link.

    Args:
      parent: folder of all trainings of this kind.
      identity: texts that describe the training; their hash is the folder's name.

    Yields:
      Path of the folder.

    Raises:
      UserError: something else is in its place, or another process trains there.
    """
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
    folder = Path(parent, digest)
    _make(folder)
    with (folder / MARKER).open("a") as marker:
        try:
            _lock(marker)
        except BlockingIOError:
            raise UserError(
                f"{folder} is in use by another process that trains the same. Wait until it is "
                "done, or give another root=DIRECTORY."
            ) from None
        _remove_others(folder)
        yield str(folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"{error.filename} is not a folder, and checkpoints are to lie in {folder}. Move "
            "it away."
        ) from None
    if folder.is_symlink() or not (_is_marked(folder) or not any(folder.iterdir())):
        raise UserError(
            f"{folder} was not made by a training, and checkpoints are to lie there. Move it away."
        )


def _remove_others(folder: Path) -> None:
    if folder.parent.is_symlink():
        return  # others may keep theirs behind the link
    for other in folder.parent.iterdir():
        if other == folder or not _NAME.fullmatch(other.name) or not _is_marked(other):
            continue
        with (other / MARKER).open("a") as marker, suppress(BlockingIOError):
            _lock(marker)
            shutil.rmtree(other)


def _is_marked(folder: Path) -> bool:
    marker = folder / MARKER
    return not folder.is_symlink() and marker.is_file() and not marker.is_symlink()


def _lock(marker: IO[str]) -> None:
    """Locks the file until this process ends, however it ends.

    Raises:
      BlockingIOError: another process holds the lock.
    """
    fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
