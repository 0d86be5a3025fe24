"""A source of images that stay encoded in their files: decoded once to check and hash them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from inception_finetune.components.dataset.bad_examples import REPEATED_ID, Skipped
from inception_finetune.components.dataset.probe import ImageInfo, decode_pixels, probe_image
from inception_finetune.components.dataset.source import EncodedLocation, EncodedPictures
from inception_finetune.components.features import TEST
from inception_finetune.components.progress import progress

_AT_A_TIME: Final = 64  # encoded pictures in memory


class EncodedExample(NamedTuple):
    """An example as a reader yields it; `encoded` is the content of `path` from `offset` on."""

    id: str
    split: str
    label: int
    path: str
    offset: int  # bytes
    encoded: bytes


@dataclass(frozen=True)
class EncodedSource:
    """A `Source` of readable images; of the skipped ones it only has the names."""

    label_names: tuple[str, ...]
    fingerprint: str
    ids: list[str]
    splits: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]
    digests: list[bytes]
    blanks: npt.NDArray[np.bool_]
    locations: list[EncodedLocation]
    skipped: dict[str, str]
    copy: IO[bytes] | None = None  # what the locations are in, where it has no name on disk

    @property
    def groups(self) -> npt.NDArray[np.str_]:
        """[N] str: the split of each example, or "all" where the source names none."""
        return np.where(self.splits == "", "all", self.splits)

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """Decodes an image, [height, width, 3] uint8, by its index."""
        [picture] = EncodedPictures((self.locations[index],))
        return decode_pixels(picture.encoded)

    def pictures(self, indices: npt.NDArray[np.int64]) -> EncodedPictures:
        """Returns the images of these indices, still in their files."""
        return EncodedPictures(tuple(self.locations[index] for index in indices))


def check_examples(
    examples: Iterable[EncodedExample],
    label_names: tuple[str, ...],
    fingerprint: str,
    skipped: Skipped,
    copy: IO[bytes] | None = None,
) -> EncodedSource:
    """Decodes every image, as training will, and records where the readable ones lie.

    Args:
      examples: each is held in memory only while it is checked.
      label_names: names of all classes.
      fingerprint: of the source.
      skipped: receives the bad examples.
      copy: the open file that all examples lie in, where it has no name on disk.

    Raises:
      UserError: there are bad ones, and the policy does not skip them.
    """
    ids: list[str] = []
    splits: list[str] = []
    labels: list[int] = []
    locations: list[EncodedLocation] = []
    digests: list[bytes] = []
    blanks: list[bool] = []
    used_ids: set[tuple[bool, str]] = set()
    for example, info in _probe_all(examples):
        # The same id in test is a leak, which has a policy of its own.
        if (key := (example.split == TEST, example.id)) in used_ids:
            file = Path(example.path).name
            repeated_id = f"{example.id} (again, at byte {example.offset} of {file})"
            skipped.reject(repeated_id, REPEATED_ID, example.path)
        elif isinstance(info, str):
            skipped.reject(example.id, info, example.path)
        else:
            used_ids.add(key)
            ids.append(example.id)
            splits.append(example.split)
            labels.append(example.label)
            digests.append(info.digest)
            blanks.append(info.blank)
            size = len(example.encoded)
            form = (info.format, info.height, info.width, info.changes)
            locations.append(EncodedLocation(example.path, example.offset, size, *form))
    return EncodedSource(
        label_names=label_names,
        fingerprint=fingerprint,
        ids=ids,
        splits=np.array(splits, np.str_),
        labels=np.array(labels, np.int64),
        digests=digests,
        blanks=np.array(blanks, np.bool_),
        locations=locations,
        skipped=skipped.reasons,
        copy=copy,
    )


def files_fingerprint(files: Iterable[Path], directory: Path, layout: str) -> str:
    """Returns a sha256 over `layout` and the names and bytes of files; 1 GB takes a second.

    Args:
      files: paths below `directory`.
      directory: what names are relative to.
      layout: any description that the fingerprint is to depend on.
    """
    digest = hashlib.sha256(layout.encode(errors="backslashreplace"))
    for path in files:
        digest.update(f"{path.relative_to(directory)}\0".encode(errors="backslashreplace"))
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _probe_all(
    examples: Iterable[EncodedExample],
) -> Iterator[tuple[EncodedExample, ImageInfo | str]]:
    """Iterates over the examples, each with its image's properties or the reason to reject it."""
    remaining = iter(examples)
    with (
        progress("Checking", None, "images") as advance,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads,
    ):
        while chunk := list(islice(remaining, _AT_A_TIME)):
            yield from zip(
                chunk, threads.map(probe_image, (one.encoded for one in chunk)), strict=True
            )
            advance(len(chunk))
