"""Pictures that lie encoded in files: decoded once to check and hash them, then left there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from inception_finetune.components.dataset.bad_examples import GIVEN_ONCE, Skipped
from inception_finetune.components.dataset.probe import Seen, look, pixels_of
from inception_finetune.components.dataset.source import Place, StoredPictures
from inception_finetune.components.features import TEST
from inception_finetune.components.progress import progress

_AT_A_TIME: Final = 64  # encoded pictures in memory


class Found(NamedTuple):
    """An example as a reader found it; `encoded` is what stands at `offset` of `path`."""

    id: str
    split: str
    label: int
    path: str
    offset: int  # bytes
    encoded: bytes


@dataclass(frozen=True)
class StoredExamples:
    """A `Source` of whole pictures; of the bad ones it only has the names."""

    label_names: tuple[str, ...]
    fingerprint: str
    ids: list[str]
    splits: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]
    digests: list[bytes]
    blanks: npt.NDArray[np.bool_]
    places: list[Place]
    skipped: dict[str, str]

    @property
    def groups(self) -> npt.NDArray[np.str_]:
        return np.where(self.splits == "", "all", self.splits)

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        [picture] = StoredPictures((self.places[index],))
        return pixels_of(picture.encoded)

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
    places: list[Place] = []
    digests: list[bytes] = []
    blanks: list[bool] = []
    taken: set[tuple[bool, str]] = set()
    for one, whole in _looked_at(found):
        # The same id in test is a leak, which has a policy of its own.
        if (key := (one.split == TEST, one.id)) in taken:
            again = f"{one.id} (again, at byte {one.offset} of {Path(one.path).name})"
            skipped.bad(again, GIVEN_ONCE, one.path)
        elif isinstance(whole, str):
            skipped.bad(one.id, whole, one.path)
        else:
            taken.add(key)
            ids.append(one.id)
            splits.append(one.split)
            labels.append(one.label)
            digests.append(whole.digest)
            blanks.append(whole.blank)
            size = len(one.encoded)
            form = (whole.format, whole.height, whole.width, whole.changes)
            places.append(Place(one.path, one.offset, size, *form))
    return StoredExamples(
        label_names=label_names,
        fingerprint=fingerprint,
        ids=ids,
        splits=np.array(splits, np.str_),
        labels=np.array(labels, np.int64),
        digests=digests,
        blanks=np.array(blanks, np.bool_),
        places=places,
        skipped=skipped.reasons,
    )


def fingerprint_of(files: Iterable[Path], directory: Path, layout: str) -> str:
    """sha256 over `layout`, the names and bytes of `files`; 1 GB takes a second."""
    digest = hashlib.sha256(layout.encode(errors="backslashreplace"))
    for path in files:
        digest.update(f"{path.relative_to(directory)}\0".encode(errors="backslashreplace"))
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _looked_at(found: Iterable[Found]) -> Iterator[tuple[Found, Seen | str]]:
    """Each example with what its picture is, or the rule that it breaks."""
    remaining = iter(found)
    with (
        progress("Checking", None, "images") as advance,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads,
    ):
        while chunk := list(islice(remaining, _AT_A_TIME)):
            yield from zip(chunk, threads.map(look, (one.encoded for one in chunk)), strict=True)
            advance(len(chunk))
