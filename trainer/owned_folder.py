"""Folders of trainings, named by a hash of what is trained; only folders of ours are removed."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.marked_folder import is_marked, locked, remove_unused

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
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
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
    if folder.is_symlink() or not (is_marked(folder) or not any(folder.iterdir())):
        raise UserError(
            f"{folder} was not made by a training, and checkpoints are to lie there. Move it away."
        )


def _remove_others(folder: Path) -> None:
    if not folder.parent.is_symlink():  # others may keep theirs behind the link
        others = (path for path in folder.parent.iterdir() if _NAME.fullmatch(path.name))
        remove_unused(path for path in others if path != folder)
