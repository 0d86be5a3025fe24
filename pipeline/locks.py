"""One run at a time in a pipeline's root, and one after another in a shared cache."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import AcquireReturnProxy, FileLock, Timeout

from inception_finetune.components.errors import UserError

LOCK_FILE: Final = ".run.lock"
_OWNER_FILE: Final = ".run.pid"
_WATCH_FILES: Final = ".watch.lock", ".watch.pid"


@contextmanager
def pipeline_lock(root: Path) -> Iterator[None]:
    """Keeps other runs out of `root`; the system releases it when this process ends in any way.

    Raises:
      UserError: another process works in `root`.
    """
    with _only(root, LOCK_FILE, _OWNER_FILE, "one run at a time works in a pipeline's root"):
        yield


@contextmanager
def watch_lock(root: Path) -> Iterator[None]:
    """Keeps other `watch` commands out of `root`; runs of the pipeline have a lock of their own.

    Raises:
      UserError: another process watches `root`.
    """
    with _only(root, *_WATCH_FILES, "one `watch` at a time works in a pipeline's root"):
        yield


@contextmanager
def _only(root: Path, lock_file: str, owner_file: str, rule: str) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    owner = root / owner_file
    try:
        lock = FileLock(root / lock_file).acquire(timeout=0)
    except Timeout:
        number = owner.read_text("utf-8").strip() if owner.exists() else "of an unknown number"
        raise UserError(
            f"{root} is in use by process {number}: {rule}. Wait until it is done, or give another "
            "root=DIRECTORY."
        ) from None
    with lock:
        owner.write_text(f"{os.getpid()}\n", "utf-8")
        yield


@contextmanager
def cache_lock(cache: Path) -> Iterator[None]:
    """Waits until no other process fetches into `cache`, and keeps those that come later waiting.

    Where nothing can be written, nothing is fetched, and no lock is needed.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_acquire(FileLock(cache / LOCK_FILE), cache))
        yield


def _acquire(lock: FileLock, cache: Path) -> AcquireReturnProxy:
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another process that fetches into {cache}", file=sys.stderr, flush=True)
        return lock.acquire()
