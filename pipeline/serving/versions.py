"""The versions of a served model: the newest one that loads, swapped while requests are answered.

A canary is a second one, which is loaded beside it, and takes its place only where it is told to.

All methods but the loading itself run on the event loop's thread, so nothing is locked.
"""

import asyncio
import gc
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import CHANNELS, EXTRA_ASSETS
from inception_finetune.components.io.pushed_model import PushedModel
from inception_finetune.components.shown_text import visible
from inception_finetune.pipeline.serving.metrics import Metrics

_FILE: Final = "saved_model.pb"


class State(StrEnum):
    """Of a version, as TensorFlow Serving names it."""

    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


class Version:
    """A version that is or was served; its model is let go when the last request has ended."""

    def __init__(self, number: int, directory: Path) -> None:
        """Nothing is loaded yet.

        Args:
          number: of the version.
          directory: the folder of the SavedModel.
        """
        self.number = number
        self.directory = directory
        self.state = State.LOADING
        self.error = ""  # why it could not be loaded
        self.requests = 0  # that are being answered
        self._model: PushedModel | None = None

    @property
    def model(self) -> PushedModel:
        """The loaded model."""
        assert self._model is not None, "only versions that are in use are asked"
        return self._model

    def load(self) -> None:
        """Loads the model, warms it up and asks it about a picture, from any thread.

        Raises:
          UserError: it cannot be loaded, or does not answer.
          tf.errors.OpError: its warm-up requests are damaged, or it does not answer them.
        """
        import numpy as np

        from inception_finetune.components.io.warm_up import read_warm_up

        model = PushedModel(self.directory)
        for signature, inputs in read_warm_up(self.directory / EXTRA_ASSETS):
            if signature not in model.loaded.signatures:
                raise UserError(
                    f"Model {self.directory} has no signature {signature!r}, which its warm-up "
                    "requests ask. Push it again."
                )
            model.loaded.signatures[signature](**inputs)
        model.answer([encode_png(np.zeros([1, 1, CHANNELS], np.uint8))])
        self._model = model

    def unload(self) -> None:
        """Lets the model go."""
        self._model = None
        self.state = State.END

    def signature_definitions(self) -> dict[str, Any]:
        """Returns the signatures of the file, as TensorFlow Serving's metadata have them."""
        saved = saved_model_pb2.SavedModel.FromString((self.directory / _FILE).read_bytes())
        return {
            name: json_format.MessageToDict(
                definition,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            for name, definition in saved.meta_graphs[0].signature_def.items()
        }


class Versions:
    """Follows a folder of versions, and serves the highest that can be loaded."""

    def __init__(
        self,
        folder: Path,
        metrics: Metrics,
        say: Callable[[str], None],
        canary: int | None = None,
    ) -> None:
        """Nothing is loaded yet.

        Args:
          folder: versions appear in it, each by one rename.
          metrics: counts what is loaded.
          say: takes a line for the log.
          canary: number of the version that is loaded beside the highest of the others.
        """
        self._folder = folder
        self._metrics = metrics
        self._say = say
        self._failed: dict[int, tuple[int, ...]] = {}  # the file's state when it was tried
        self.known: dict[int, Version] = {}  # those whose state is told
        self.current: Version | None = None
        self.canary: Version | None = None
        self._canary_number = canary

    async def follow(self, seconds: float) -> None:
        """Looks for new versions for ever.

        Args:
          seconds: between two looks.
        """
        while True:
            await self.look()
            await asyncio.sleep(seconds)

    async def look(self) -> None:
        """Swaps in the highest version that can be loaded, if it is another than the current.

        The canary is loaded once it is there, and let go when it is removed.
        """
        while True:
            there = await asyncio.to_thread(_numbered, self._folder)
            self._retire_canary(there)
            wanted = {
                number for number, state in there.items() if self._failed.get(number) != state
            }
            main = max(wanted - {self._canary_number}, default=None)
            if main is not None and not (self.current and self.current.number == main):
                if version := await self._load(main, there[main]):
                    self._swap_in(version)
            elif self._canary_number in wanted and self.canary is None:
                number = self._canary_number
                if version := await self._load(number, there[number]):
                    self._take_canary(version)
            else:
                return

    async def _load(self, number: int, state: tuple[int, ...]) -> Version | None:
        version = Version(number, self._folder / str(number))
        self.known[number] = version
        try:
            await asyncio.to_thread(version.load)
        except Exception as error:  # noqa: BLE001 (whatever damaged models lead to)
            self._failed[number] = state
            self._refuse(version, error)
            return None
        version.state = State.AVAILABLE
        self._metrics.loads.labels("loaded").inc()
        return version

    def _take_canary(self, version: Version) -> None:
        self.canary = version
        self._metrics.canary.set(version.number)
        self._say(f"version {version.number} is the canary")

    def _retire_canary(self, there: Collection[int]) -> None:
        canary = self.canary
        if canary is not None and canary.number not in there:
            self.canary = None
            self._metrics.canary.set(0)
            self._say(f"version {canary.number} was removed, and is no canary any more")
            canary.state = State.UNLOADING
            self._let_go(canary)

    def _refuse(self, version: Version, error: Exception) -> None:
        known = isinstance(error, UserError)
        version.error = visible(str(error) if known else f"{type(error).__name__}: {error}")
        version.state = State.END
        self._metrics.loads.labels("failed").inc()
        kept = f"Version {self.current.number} still serves" if self.current else "None serves"
        self._say(f"version {version.number} is not served: {version.error} {kept}.")

    def _swap_in(self, version: Version) -> None:
        old, self.current = self.current, version
        self._metrics.version.set(version.number)
        self._say(f"version {version.number} serves")
        if old:
            old.state = State.UNLOADING
            self._let_go(old)

    def _let_go(self, version: Version) -> None:
        if version.state is State.UNLOADING and not version.requests:
            version.unload()
            # Its variables are in cycles of references; to look for them takes a while.
            asyncio.get_running_loop().run_in_executor(None, gc.collect)
            self._say(f"version {version.number} is unloaded")

    @contextmanager
    def use(self, version: Version) -> Iterator[PushedModel]:
        """Keeps a version loaded while a request is answered by it.

        Args:
          version: the current one, or the canary.

        Yields:
          Its model.
        """
        version.requests += 1
        try:
            yield version.model
        finally:
            version.requests -= 1
            self._let_go(version)


def _numbered(folder: Path) -> dict[int, tuple[int, ...]]:
    """The whole versions in a folder, each with what changes when its file does."""
    found: dict[int, tuple[int, ...]] = {}
    # OSError: the folder or a version is just removed, or has no such file.
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name.isdecimal() and path.name == str(int(path.name)):
                with suppress(OSError):
                    status = (path / _FILE).stat()
                    state = (status.st_ino, status.st_size, status.st_mtime_ns)
                    found[int(path.name)] = state
    return found
