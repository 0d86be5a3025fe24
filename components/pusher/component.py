"""Pusher, a TFX component that makes a blessed model the served version, completely or not at all.

TFX copies file by file into the version's folder, so that a killed run leaves half a version
there. It names the folder by the clock, so that after the clock was set back the new model gets a
lower number than the old one, which TensorFlow Serving then continues to serve.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tfx.components.pusher import component
from tfx.components.pusher import executor as tfx_executor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.proto import pusher_pb2
from tfx.types import Artifact
from tfx.types.artifact_utils import get_single_instance
from tfx.types.standard_component_specs import PUSH_DESTINATION_KEY, PUSHED_MODEL_KEY
from tfx.utils import proto_utils

# Beside the versions, so that a rename is enough; readers take numbers alone for versions.
UNFINISHED = ".pushing-"


class Executor(tfx_executor.Executor):
    """TFX's executor, copying into a hidden folder that is then renamed to the version."""

    def Do(  # noqa: N802 - as TFX calls it
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model if it is blessed; arguments are TFX's."""
        pushed = get_single_instance(output_dict[PUSHED_MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[PUSH_DESTINATION_KEY], destination)
        serving = Path(destination.filesystem.base_directory)
        serving.mkdir(parents=True, exist_ok=True)
        _remove_unfinished(serving)
        with _unfinished(serving) as folder:
            destination.filesystem.base_directory = str(folder)
            elsewhere = {PUSH_DESTINATION_KEY: proto_utils.proto_to_json(destination)}
            super().Do(input_dict, output_dict, {**exec_properties, **elsewhere})
            [copied] = folder.iterdir()
            for path in [*copied.rglob("*"), copied]:
                _fsync(path)
            version = serving / str(next_version(serving))
            copied.rename(version)
        _fsync(serving)
        self._MarkPushed(pushed, pushed_destination=str(version), pushed_version=version.name)


class Pusher(component.Pusher):
    """TFX's Pusher with the executor of this module."""

    EXECUTOR_SPEC = ExecutorClassSpec(Executor)


def next_version(serving: Path) -> int:
    """Returns the time in seconds, or one more than the highest version if that is later.

    TensorFlow Serving serves the highest version only.
    """
    versions = (int(path.name) for path in serving.iterdir() if path.name.isdecimal())
    return max(int(time.time()), max(versions, default=0) + 1)


@contextmanager
def _unfinished(serving: Path) -> Iterator[Path]:
    """Yields a hidden, locked folder that is removed at the end, whatever happens in between."""
    folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=serving))
    try:
        with _try_lock(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_unfinished(serving: Path) -> None:
    """Removes what killed pushes have left, but not what another process is pushing."""
    for folder in serving.glob(f"{UNFINISHED}{'[a-z0-9_]' * 8}"):  # as mkdtemp names them
        with suppress(FileNotFoundError), _try_lock(folder) as is_locked:
            if is_locked:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _try_lock(folder: Path) -> Iterator[bool]:
    """Tries to lock `folder`; yields whether it succeeded.

    The operating system releases the lock when the process ends, however it ends.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_locked = True
        except OSError:  # another process does, or the file system has no locks
            is_locked = False
        yield is_locked
    finally:
        os.close(descriptor)


def _fsync(path: Path) -> None:
    """Flushes a file or folder to the disk, so that it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
