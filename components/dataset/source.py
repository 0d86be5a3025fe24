"""What a conversion reads from: an archive, a folder of pictures, or records from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from inception_finetune.components.dataset.png import encode_png


def open_address(address: str) -> IO[bytes]:
    """A file of this machine, or what Beam's file systems open."""
    if "://" not in address:
        return Path(address).open("rb")
    from apache_beam.io.filesystems import FileSystems

    return FileSystems.open(address)


class Picture(NamedTuple):
    encoded: bytes
    format: str  # "png" or "jpeg"
    height: int  # pixels
    width: int
    changes: tuple[str, ...] = ()  # what training sees otherwise, as `look` has it


class Pictures(Protocol):
    """Some pictures, one after another; goes to another process as it is."""

    def __iter__(self) -> Iterator[Picture]: ...


class Source(Protocol):
    """Examples that have been checked, all in one order; those in `skipped` are to be left out."""

    @property
    def label_names(self) -> tuple[str, ...]: ...
    @property
    def fingerprint(self) -> str:
        """Another one where any picture, label or name is."""
        ...

    @property
    def skipped(self) -> Mapping[str, str]:
        """Id -> reason, of bad examples."""
        ...

    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def splits(self) -> npt.NDArray[np.str_]:
        """[N]: train, test, and validation where the source has one itself."""
        ...

    @property
    def labels(self) -> npt.NDArray[np.int64]: ...
    @property
    def digests(self) -> Sequence[bytes]:
        """[N] hashes: the same where pictures show the same."""
        ...

    def pictures(self, indices: npt.NDArray[np.int64]) -> Pictures: ...


class BrowsableSource(Source, Protocol):
    """A source that can be looked at: `data show`."""

    @property
    def groups(self) -> npt.NDArray[np.str_]:
        """[N]: what an example is counted under: its file in an archive, else its split."""
        ...

    @property
    def blanks(self) -> npt.NDArray[np.bool_]:
        """[N]: whether all pixels have one colour."""
        ...

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """[height, width, 3]"""
        ...


@dataclass(frozen=True)
class ArrayPictures:
    """`images` is [N, side, side, 3] uint8."""

    images: npt.NDArray[np.uint8]

    def __iter__(self) -> Iterator[Picture]:
        for image in self.images:
            height, width, _ = image.shape
            yield Picture(encode_png(image), "png", height, width)


class EncodedLocation(NamedTuple):
    """Where the bytes of an encoded picture lie, and what they have been found to hold."""

    path: str
    offset: int  # bytes
    length: int  # bytes
    format: str
    height: int
    width: int
    changes: tuple[str, ...]


@dataclass(frozen=True)
class EncodedPictures:
    """Encoded pictures in files; only one is in memory at a time."""

    locations: tuple[EncodedLocation, ...]

    def __iter__(self) -> Iterator[Picture]:
        for location in self.locations:
            with open_address(location.path) as file:
                file.seek(location.offset)
                encoded = file.read(location.length)
            yield Picture(encoded, *location[3:])
