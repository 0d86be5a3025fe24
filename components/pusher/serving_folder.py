"""The folder that a server watches: each folder in it with a number as its name is a version."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from inception_finetune.components.io.marked_folder import scratch_folder

# Beside the versions, so that a rename is enough; readers take numbers alone for versions.
UNFINISHED: Final = ".pushing-"
# Property of a Model artifact: since when it must not serve (milliseconds since 1970), because
# `rollback` put an older one in its place.
WITHDRAWN: Final = "withdrawn"


@contextmanager
def unfinished(serving: Path) -> Iterator[Path]:
    """Yields an empty hidden folder for a copy of a model; what killed pushes have left is removed.

    Args:
      serving: the folder of the versions; it is made where it is missing.
    """
    serving.mkdir(parents=True, exist_ok=True)
    with scratch_folder(UNFINISHED, serving) as scratch:
        folder = scratch / "model"
        folder.mkdir()
        yield folder


def publish(copied: Path, serving: Path) -> Path:
    """Makes a whole copy of a model the newest version, at once.

    Args:
      copied: the copy, in a folder of `unfinished`.
      serving: the folder of the versions.

    Returns:
      The version's folder.
    """
    for path in [*copied.rglob("*"), copied]:
        _fsync(path)
    version = serving / str(next_version(serving))
    copied.rename(version)
    _fsync(serving)
    return version


def next_version(serving: Path) -> int:
    """Returns the time in seconds, or one more than the highest version if that is later.

    TensorFlow Serving serves the highest version only.
    """
    versions = (int(path.name) for path in serving.iterdir() if path.name.isdecimal())
    return max(int(time.time()), max(versions, default=0) + 1)


def _fsync(path: Path) -> None:
    """Flushes a file or folder to the disk, so that it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
