"""Files that are written completely or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.marked_folder import scratch_folder


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yields a temporary path beside `target` that gets its name when the block has ended well.

    Args:
      target: a file that is replaced, or a name that is free. A link stays one: what it leads to
        is replaced.

    Yields:
      Where the content is to be written.

    Raises:
      UserError: `target` is no plain file, or cannot be written.
    """
    place = Path(os.path.realpath(target))
    if place.exists() and not place.is_file():
        raise UserError(f"{target} is not a plain file, and is not replaced. Give another path.")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(f".{place.name}-", place.parent) as scratch:
            temporary = scratch / "content"
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(place)
    except OSError as error:
        raise UserError(
            f"Cannot write {target}: {error}. Free space, or give another path."
        ) from error


def require_writable(folder: Path) -> None:
    """Makes a folder and writes to it, before the work whose result it is to hold.

    Args:
      folder: it may exist.

    Raises:
      UserError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_folder(".writable-", folder):
            pass
    except OSError as error:
        raise UserError(
            f"Cannot write to {folder}: {error}. Free space, or give another folder."
        ) from error
