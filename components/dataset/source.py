"""What a conversion reads from: an archive, a folder of images, or foreign records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from inception_finetune.components.dataset.picture_formats import as_png_or_jpeg
from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.errors import UserError


def open_address(address: str) -> IO[bytes]:
    """Opens a local file, or what Beam's file systems open."""
    if "://" not in address:
        return Path(address).open("rb")
    from apache_beam.io.filesystems import FileSystems

    return FileSystems.open(address)


class Picture(NamedTuple):
    """An encoded image and its properties."""

    encoded: bytes
    format: str  # "png" or "jpeg"
    height: int  # pixels
    width: int
    changes: tuple[str, ...] = ()  # kinds of `dataset.changes`


class Pictures(Protocol):
    """A series of images, which can be pickled for another process."""

    def __iter__(self) -> Iterator[Picture]: ...


class Source(Protocol):
    """Checked examples in a fixed order; those in `skipped` are not to be written."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each class, by label."""

    @property
    def fingerprint(self) -> str:
        """A hash that changes with any image, label or name."""
        ...

    @property
    def skipped(self) -> Mapping[str, str]:
        """The reason for each bad example, by id."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """[N] unique ids."""

    @property
    def splits(self) -> npt.NDArray[np.str_]:
        """[N] str: train, test, and validation where the source has one itself."""
        ...

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """[N] int64."""

    @property
    def digests(self) -> Sequence[bytes]:
        """[N] hashes, equal where images show the same."""
        ...

    def pictures(self, indices: npt.NDArray[np.int64]) -> Pictures:
        """Returns the images of these indices."""


class BrowsableSource(Source, Protocol):
    """A source whose images can be shown, for `data show`."""

    @property
    def groups(self) -> npt.NDArray[np.str_]:
        """[N] str: what an example is counted under: its file in an archive, else its split."""
        ...

    @property
    def blanks(self) -> npt.NDArray[np.bool_]:
        """[N] bool: whether all pixels have one colour."""
        ...

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """Returns an image, [height, width, 3] uint8."""
        ...


@dataclass(frozen=True)
class ArrayPictures:
    """Images in memory; `images` is [N, side, side, 3] uint8."""

    images: npt.NDArray[np.uint8]

    def __iter__(self) -> Iterator[Picture]:
        for image in self.images:
            height, width, _ = image.shape
            yield Picture(encode_png(image), "png", height, width)


class EncodedLocation(NamedTuple):
    """Where the bytes of an encoded image lie, and its properties as it is stored."""

    path: str
    offset: int  # bytes
    length: int  # bytes
    format: str
    height: int
    width: int
    changes: tuple[str, ...]


@dataclass(frozen=True)
class EncodedPictures:
    """Encoded images in files; only one is in memory at a time."""

    locations: tuple[EncodedLocation, ...]

    def __iter__(self) -> Iterator[Picture]:
        for location in self.locations:
            with open_address(location.path) as file:
                file.seek(location.offset)
                encoded = file.read(location.length)
            yield Picture(stored_bytes(encoded, location.path), *location[3:])


def stored_bytes(encoded: bytes, where: str) -> bytes:
    """Returns what is stored of a picture that was found to be readable.

    Args:
      encoded: content of its file.
      where: the file, for messages.

    Raises:
      UserError: it cannot be read now.
    """
    stored = as_png_or_jpeg(encoded)
    if isinstance(stored, str):
        raise UserError(f"Picture {where} changed while it was converted: {stored}. Convert again.")
    return stored.encoded
