"""One run at a time in a pipeline's root, and one after another in a shared cache."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from inception_finetune.components.errors import UserError

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


@contextmanager
def in_turn(cache: Path) -> Iterator[None]:
    """Waits until no other process fetches into `cache`, and keeps those that come later waiting.

    Where nothing can be written, nothing is fetched, and no turn is needed.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
            _wait_for(stack.enter_context((cache / LOCK_FILE).open("a", encoding="utf-8")), cache)
        yield


def _wait_for(file: IO[str], cache: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting for another process that fetches into {cache}", file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
