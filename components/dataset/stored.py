"""Pictures that lie encoded in files: decoded once to check and hash them, then left there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from components.dataset.bad_examples import Skipped
from components.dataset.source import Place, StoredPictures
from components.features import TEST
from components.progress import progress

_AT_A_TIME: Final = 64  # encoded pictures in memory
_PNG: Final = b"\x89PNG"


class Found(NamedTuple):
    """An example as a reader found it; `encoded` is what stands at `offset` of `path`."""

    id: str
    split: str
    label: int
    path: str
    offset: int  # bytes
    encoded: bytes


class Seen(NamedTuple):
    """What decoding a picture told."""

    place: Place
    digest: bytes  # of its pixels


@dataclass(frozen=True)
class StoredExamples:
    """A `Source` of whole pictures; of the bad ones it only has the names."""

    label_names: tuple[str, ...]
    fingerprint: str
    ids: list[str]
    splits: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]
    digests: list[bytes]
    places: list[Place]
    skipped: dict[str, str]

    def pictures(self, indices: npt.NDArray[np.int64]) -> StoredPictures:
        return StoredPictures(tuple(self.places[index] for index in indices))


def check_all(
    found: Iterable[Found], label_names: tuple[str, ...], fingerprint: str, skipped: Skipped
) -> StoredExamples:
    """Decodes every picture, as training will, and takes down where the whole ones lie.

    Raises:
      UserError: there are bad ones, and the policy does not leave them out.
    """
    ids: list[str] = []
    splits: list[str] = []
    labels: list[int] = []
    seen: list[Seen] = []
    taken: set[tuple[bool, str]] = set()
    for one, whole in _looked_at(found):
        # The same id in test is a leak, which has a policy of its own.
        if (key := (one.split == TEST, one.id)) in taken:
            again = f"{one.id} (again, at byte {one.offset} of {Path(one.path).name})"
            skipped.bad(again, "an id is given once, here an earlier example has it", one.path)
        elif isinstance(whole, str):
            skipped.bad(one.id, whole, one.path)
        else:
            taken.add(key)
            ids.append(one.id)
            splits.append(one.split)
            labels.append(one.label)
            seen.append(whole)
    return StoredExamples(
        label_names=label_names,
        fingerprint=fingerprint,
        ids=ids,
        splits=np.array(splits, np.str_),
        labels=np.array(labels, np.int64),
        digests=[one.digest for one in seen],
        places=[one.place for one in seen],
        skipped=skipped.reasons,
    )


def fingerprint_of(files: Iterable[Path], directory: Path) -> str:
    """sha256 over the names and bytes of `files`; 1 GB takes a second."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(directory)}\0".encode(errors="backslashreplace"))
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _looked_at(found: Iterable[Found]) -> Iterator[tuple[Found, Seen | str]]:
    """Each example with what its picture is, or the rule that it breaks."""
    look = _look()
    remaining = iter(found)
    with (
        progress("Checking", None, "images") as advance,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads,
    ):
        while chunk := list(islice(remaining, _AT_A_TIME)):
            yield from zip(chunk, threads.map(look, chunk), strict=True)
            advance(len(chunk))


@cache
def _look() -> Callable[[Found], Seen | str]:
    import tensorflow as tf  # seconds, which an archive of bare pixels need not pay

    from components import picture

    decode = tf.function(picture.decode, input_signature=[tf.TensorSpec([], tf.string)])

    def look(one: Found) -> Seen | str:
        try:
            pixels = decode(one.encoded).numpy()
        except tf.errors.InvalidArgumentError:
            return f"a picture is {picture.RULE}, here it is another file ({len(one.encoded)} B)"
        height, width, _ = pixels.shape
        kind = "png" if one.encoded.startswith(_PNG) else "jpeg"
        digest = hashlib.sha256(f"{height}x{width}".encode())
        digest.update(pixels)
        place = Place(one.path, one.offset, len(one.encoded), kind, height, width)
        return Seen(place, digest.digest())

    return look
