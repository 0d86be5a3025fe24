"""One run at a time in a pipeline's root."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import UserError

LOCK_FILE = ".run.lock"


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Keeps other runs out of `root`; the system lets go when this process ends, however it does.

    Raises:
      UserError: another process works in `root`.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / LOCK_FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"one run at a time works in a pipeline's root. {root} is in use by process "
                f"{file.read().strip()}; wait until it is done, or give another root=DIRECTORY"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
