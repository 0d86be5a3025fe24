"""Reads archives in the layout of CIFAR-10's "python version", without trusting them.

The layout, https://www.cs.toronto.edu/~kriz/cifar.html: a tar.gz (or the directory unpacked from
it) with pickled dictionaries ``data_batch_1`` …, ``test_batch`` (``data``: uint8 [N, 3*side*side],
channel planes in a row; ``labels``: list of int) and ``batches.meta`` (``label_names``). Any number
of classes and any square image fits.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from inception_finetune.components.dataset.bad_examples import STRICT, Policy, Skipped
from inception_finetune.components.dataset.source import ArrayPictures
from inception_finetune.components.dataset.unpickle import describe, load_dictionary, text
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import CHANNELS, TEST, TRAIN
from inception_finetune.components.io.tar import tar_files

META: Final = "batches.meta"
TEST_BATCH: Final = "test_batch"
NO_LABEL: Final = -1  # of an image that is left out
_TRAIN_BATCH: Final = re.compile(r"data_batch_([1-9]\d*)")


@dataclass(frozen=True)
class Batch:
    """One file of images; `images` is [N, side, side, 3] uint8, `labels` is [N] int64."""

    name: str
    split: Literal["train", "test"]
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Archive:
    """A `Source` in memory: train batches in the order of their numbers, then the test batch.

    `fingerprint` is a sha256 of images, labels and names, however they are packed.
    """

    label_names: tuple[str, ...]
    batches: tuple[Batch, ...]
    fingerprint: str
    skipped: dict[str, str] = field(default_factory=dict)  # id -> reason; their label is NO_LABEL

    @cached_property
    def ids(self) -> list[str]:
        """``<batch>:<index>`` of each example."""
        return [f"{batch.name}:{i}" for batch in self.batches for i in range(len(batch.labels))]

    @cached_property
    def splits(self) -> npt.NDArray[np.str_]:
        """[N] str: train or test."""
        return np.concatenate([np.full(len(batch.labels), batch.split) for batch in self.batches])

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """[N] int64; `NO_LABEL` for skipped examples."""
        return np.concatenate([batch.labels for batch in self.batches])

    @cached_property
    def digests(self) -> list[bytes]:
        """[N] sha256 digests of the pixels."""
        return [
            hashlib.sha256(image.tobytes()).digest()
            for batch in self.batches
            for image in batch.images
        ]

    @cached_property
    def groups(self) -> npt.NDArray[np.str_]:
        """[N] str: the batch of each example."""
        return np.concatenate([np.full(len(batch.labels), batch.name) for batch in self.batches])

    @cached_property
    def blanks(self) -> npt.NDArray[np.bool_]:
        """[N] bool: whether all pixels of an image have one colour."""
        return np.concatenate(
            [
                (batch.images == batch.images[:, :1, :1]).all(axis=(1, 2, 3))
                for batch in self.batches
            ]
        )

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """Returns an image, [side, side, 3] uint8, by its index among all batches."""
        for batch in self.batches:
            if index < len(batch.images):
                return batch.images[index]
            index -= len(batch.images)
        raise IndexError(index)

    def pictures(self, indices: npt.NDArray[np.int64]) -> ArrayPictures:
        """Returns the images of these indices."""
        return ArrayPictures(self._images[indices])

    @cached_property
    def _images(self) -> npt.NDArray[np.uint8]:
        return np.concatenate([batch.images for batch in self.batches])


def read_archive(path: Path, policy: Policy = STRICT) -> Archive:
    """Reads and checks all batches.

    Args:
      path: a tar, a tar.gz or an unpacked directory.
      policy: what happens to bad labels.

    Raises:
      UserError: the archive is missing, damaged or hostile, a batch breaks the layout, or labels do
        and `policy` does not skip them.
    """
    skipped = Skipped(policy)
    if not path.exists():
        raise UserError(f"No such archive: {path}. Check the path, or fetch the archive first.")
    contents: dict[str, dict[str, Any]] = {}
    for name, data in _members(path):
        if name in contents:
            raise UserError(f"{path} holds {name} twice. Remove one of them.")
        contents[name] = _load(data, f"{name} in {path}")
    if META not in contents:
        raise UserError(
            f"{path} lacks {META}, which names the labels: it is not a CIFAR-10 archive. Give "
            "another archive, or a folder of pictures."
        )
    label_names = _label_names(contents.pop(META), f"{META} in {path}")
    if TEST_BATCH not in contents:
        raise UserError(
            f"{path} lacks {TEST_BATCH}: without test images nothing can be evaluated. Add it."
        )
    if len(contents) == 1:
        raise UserError(
            f"{path} lacks data_batch_1: without it there is nothing to train on. Add it."
        )
    batches = tuple(
        _batch(name, contents.pop(name), len(label_names), f"{name} in {path}", skipped)
        for name in sorted(contents, key=_order)
    )
    sides = {batch.name: batch.images.shape[1] for batch in batches}
    if len(set(sides.values())) > 1:
        raise UserError(
            f"Images in {path} differ in size: their sides are {sides}. Give all of them one "
            "size, or unpack them to a folder of pictures."
        )
    return Archive(label_names, batches, _fingerprint(label_names, batches), skipped.reasons)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Iterates over the batches' names and bytes; a folder is `path` itself or inside it."""
    if path.is_dir():
        for file in sorted([*path.glob("*"), *path.glob("*/*")]):
            if _is_member(file.name) and file.is_file():
                yield file.name, file.read_bytes()
        return
    with tar_files(path) as files:
        for name, stream in files:
            if _is_member(name.name):
                yield name.name, stream.read()


def _is_member(name: str) -> bool:
    return name in (META, TEST_BATCH) or _TRAIN_BATCH.fullmatch(name) is not None


def _order(name: str) -> float:
    match = _TRAIN_BATCH.fullmatch(name)
    return int(match[1]) if match else math.inf


def _load(data: bytes, where: str) -> dict[str, Any]:
    try:
        return load_dictionary(data)
    except UserError as error:
        raise UserError(
            f"{where} is refused: {error}. Fetch the archive again, from its publisher."
        ) from error


def _field(content: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in content:
        raise UserError(
            f"{where} lacks {key!r}: it has {describe(sorted(content))}. Write the archive again."
        )
    return content[key]


def _label_names(meta: Mapping[str, Any], where: str) -> tuple[str, ...]:
    names = _field(meta, "label_names", where)
    if not isinstance(names, list) or len(names) < 2:
        raise UserError(
            f"label_names of {where} is {describe(names)}, not a list of two or more names. "
            "Write the archive again."
        )
    try:
        words = tuple(text(name) for name in names)
    except (UnicodeDecodeError, UserError) as error:
        raise UserError(
            f"label_names of {where} is {describe(names)}, not UTF-8 text. Write the archive again."
        ) from error
    if len(set(words)) < len(words) or not all(
        word.strip() and word.isprintable() for word in words
    ):
        raise UserError(
            f"label_names of {where} is {describe(words)}, not distinct printable words. Write "
            "the archive again."
        )
    return words


def _batch(
    name: str, content: Mapping[str, Any], classes: int, where: str, skipped: Skipped
) -> Batch:
    data = _field(content, "data", where)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
        kind = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise UserError(
            f"data of {where} is {kind}, not a uint8 array [images, values]. Write the archive "
            "again."
        )
    count, values = data.shape
    side = math.isqrt(values // CHANNELS)
    if not count or not side or values != CHANNELS * side * side:
        raise UserError(
            f"data of {where} has {count} rows of {values} values, not rows of 3*side*side. "
            "Write the archive again."
        )
    planes = data.reshape(count, CHANNELS, side, side)
    labels = _labels(_field(content, "labels", where), count, where)
    for index, label in enumerate(labels):
        whole = isinstance(label, int) and not isinstance(label, bool)
        if not whole or not 0 <= label < classes:
            skipped.reject(
                f"{name}:{index}",
                f"label {describe(label)} is not a whole number in [0, {classes})",
                where,
            )
            labels[index] = NO_LABEL
    return Batch(
        name=name,
        split=TEST if name == TEST_BATCH else TRAIN,
        images=np.ascontiguousarray(planes.transpose(0, 2, 3, 1)),
        labels=np.asarray(labels, dtype=np.int64),
    )


def _labels(labels: Any, count: int, where: str) -> list[Any]:
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()
    if not isinstance(labels, list) or len(labels) != count:
        received = len(labels) if isinstance(labels, list) else describe(labels)
        raise UserError(
            f"{where} has {received} labels for {count} images. Write the archive again."
        )
    return list(labels)


def _fingerprint(label_names: tuple[str, ...], batches: tuple[Batch, ...]) -> str:
    digest = hashlib.sha256(repr(label_names).encode())
    for batch in batches:
        digest.update(repr((batch.name, batch.images.shape)).encode())
        digest.update(batch.images.tobytes())
        digest.update(batch.labels.astype("<i8").tobytes())
    return digest.hexdigest()
