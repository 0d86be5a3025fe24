"""One partition of a conversion on Beam: what a worker writes of it, and what it reports."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from inception_finetune.components.dataset.bad_examples import REPEATED_ID, Policy
from inception_finetune.components.dataset.hold_out import rank
from inception_finetune.components.dataset.leakage import Leak
from inception_finetune.components.dataset.manifest import Shard
from inception_finetune.components.dataset.probe import FILE_TOO_LARGE, LARGEST_FILE, ImageInfo
from inception_finetune.components.dataset.shards import ShardSource, write_shard
from inception_finetune.components.dataset.source import Picture, open_address, stored_bytes
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import SPLITS, TEST, TRAIN, VALIDATION

OPEN: Final = ("", TRAIN)  # of these splits, pictures are held out for test and validation
_LONGEST: Final = 160  # characters of a library's own words
_REPORT: Final = ".json"  # beside a part's shards until the manifest is made


class ListedPicture(NamedTuple):
    """A readable image of a listing: where its bytes lie, and not the bytes themselves."""

    id: str
    address: str
    label: int
    split: str
    sha256: bytes  # of the bytes
    info: ImageInfo
    offset: int = 0  # bytes, where it begins at the address
    length: int | None = None  # bytes; None: to the end

    @property
    def digest(self) -> bytes:
        """Of the pixels; equal images have the same one."""
        return self.info.digest


class UnassignedPicture(NamedTuple):
    """What decides on the split of an image that the source assigns to none, or only to train."""

    test_rank: int
    validation_rank: int
    may_be_test: bool

    @classmethod
    def of(cls, picture: ListedPicture, seed: int) -> UnassignedPicture:
        """Computes the ranks of an image."""
        test, validation = (rank(picture.digest, split, seed) for split in (TEST, VALIDATION))
        return cls(test, validation, not picture.split)

    def is_test(self, test_bound: int) -> bool:
        """Returns whether the image becomes a test image.

        Args:
          test_bound: the rank below which images of its class are held out for test.
        """
        return self.may_be_test and self.test_rank < test_bound


class RejectedPicture(NamedTuple):
    """An image that breaks a rule."""

    id: str
    reason: str


@dataclass(frozen=True)
class Reports:
    """The reports of all partitions together."""

    shards: dict[str, tuple[Shard, ...]]
    labels: dict[str, frozenset[int]]  # by split
    rejected: dict[str, str]  # id -> reason
    leaks: list[Leak]

    @property
    def written(self) -> int:
        """Number of examples that were written."""
        return sum(shard.examples for shard in chain(*self.shards.values()))


def read_encoded(address: str, offset: int = 0, length: int | None = None) -> bytes | str:
    """Reads an image's file, or its part of a file.

    Args:
      address: of the file.
      offset: bytes before it in the file.
      length: bytes of it; None reads to the end.

    Returns:
      Its bytes, or the reason why it is rejected.
    """
    try:
        with open_address(address) as file:
            if offset:
                file.seek(offset)
            encoded = bytes(file.read(LARGEST_FILE + 1 if length is None else length))
    except Exception as error:  # noqa: BLE001 (each of Beam's file systems raises its own)
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
        return f"it cannot be read ({reason[:_LONGEST]})"
    return FILE_TOO_LARGE if len(encoded) > LARGEST_FILE else encoded


def partition_key(picture: ListedPicture | RejectedPicture) -> int:
    """Returns the partition key, before the modulo: equal images get the same key."""
    if isinstance(picture, RejectedPicture):
        return digest_number(hashlib.sha256(picture.id.encode()).digest())
    return digest_number(picture.digest)


def digest_number(digest: bytes) -> int:
    """Returns the first 8 bytes of a digest as a number in [0, 2**64)."""
    return int.from_bytes(digest[:8], "big")


def write_partition(
    part: tuple[int, Iterable[ListedPicture | RejectedPicture]],
    directory: str,
    parts: int,
    seed: int,
    policy: Policy,
    bounds: Mapping[int, Mapping[str, int]],
) -> None:
    """Writes a partition's shard of each split, and a report. Repeated, it writes the same files.

    Args:
      part: number of the partition, and its images.
      directory: receives the files.
      parts: number of partitions.
      seed: of splits and shuffling.
      policy: what happens to leaks.
      bounds: by label and split, the ranks below which unassigned images are held out.
    """
    number, pictures_of_part = part[0], list(part[1])
    pictures = _assign_splits(
        [picture for picture in pictures_of_part if isinstance(picture, ListedPicture)],
        bounds,
        seed,
    )
    rejected = sorted(
        picture for picture in pictures_of_part if isinstance(picture, RejectedPicture)
    )
    for identity, same in groupby(list(rejected), key=lambda one: one.id):
        rejected += _repeated_ids(identity, len(list(same)))
    unique, leaks, repeated = _deduplicate(pictures, policy)
    shards = {}
    for split in SPLITS:
        of_split = [one for one in unique if one.split == split]
        if of_split:
            name = f"{split}-{number:05d}-of-{parts:05d}.tfrecord"
            of_split.sort(key=lambda one: (_shuffle_key(one, seed), one.id))
            shards[split] = asdict(_write(Path(directory) / name, of_split))
    report = {
        "shards": shards,
        "labels": {
            split: sorted({one.label for one in unique if one.split == split}) for split in SPLITS
        },
        "bad": [*dict.fromkeys(rejected), *repeated],
        "leaks": leaks,
    }
    path = Path(directory) / f"part-{number:05d}{_REPORT}"
    temporary = _temporary(path)
    temporary.write_text(json.dumps(report), "utf-8")
    temporary.replace(path)


def collect_reports(directory: Path) -> Reports:
    """Reads the reports of all partitions, and removes them and unfinished files."""
    shards: dict[str, list[Shard]] = {split: [] for split in SPLITS}
    labels: dict[str, set[int]] = {split: set() for split in SPLITS}
    rejected: list[RejectedPicture] = []
    leaks: list[Leak] = []
    for path in sorted(directory.glob(f"part-*{_REPORT}")):
        report = json.loads(path.read_text("utf-8"))
        for split, of_split in report["labels"].items():
            labels[split] |= set(of_split)
        rejected += [RejectedPicture(*one) for one in report["bad"]]
        leaks += [Leak(*one) for one in report["leaks"]]
        for split, shard in report["shards"].items():
            shards[split].append(Shard(**shard))
    shard_names = {shard.file for shard in chain(*shards.values())}
    for path in list(directory.iterdir()):
        if path.name not in shard_names:
            path.unlink()  # reports, and what a worker that died left behind
    return Reports(
        {split: tuple(values) for split, values in shards.items()},
        {split: frozenset(values) for split, values in labels.items()},
        dict(sorted(rejected)),
        sorted(leaks),
    )


def _assign_splits(
    pictures: Sequence[ListedPicture], bounds: Mapping[int, Mapping[str, int]], seed: int
) -> list[ListedPicture]:
    """Assigns each image to its split; copies go where the smallest of their labels sends them."""
    first_label: dict[bytes, int] = {}
    for one in pictures:
        if one.split in OPEN:
            first_label[one.digest] = min(one.label, first_label.get(one.digest, one.label))
    assigned = []
    for one in pictures:
        if one.split in OPEN:
            of_class, ranks = bounds[first_label[one.digest]], UnassignedPicture.of(one, seed)
            if ranks.is_test(of_class[TEST]):
                one = one._replace(split=TEST)
            else:
                is_validation = ranks.validation_rank < of_class[VALIDATION]
                one = one._replace(split=VALIDATION if is_validation else TRAIN)
        assigned.append(one)
    return assigned


def _deduplicate(
    pictures: Iterable[ListedPicture], policy: Policy
) -> tuple[list[ListedPicture], list[Leak], list[RejectedPicture]]:
    """Returns images to write, those outside of test that are in test too, and repeated ids."""
    unique: list[ListedPicture] = []
    leaks: list[Leak] = []
    repeated: list[RejectedPicture] = []
    ordered = sorted(pictures, key=lambda one: (one.digest, one.split == TEST, one.id, one.label))
    for _, group in groupby(ordered, key=lambda one: one.digest):
        equal: list[ListedPicture] = []
        for (_, identity), same in groupby(group, key=lambda one: (one.split == TEST, one.id)):
            first, *others = same
            equal.append(first)
            repeated += _repeated_ids(identity, 1 + len(others))
        tests = [one for one in equal if one.split == TEST]
        if tests and policy.on_leakage != "allow":
            leaks += [Leak(one.id, one.split, tests[0].id) for one in equal if one.split != TEST]
            equal = tests
        unique += equal
    return unique, leaks, repeated


def _repeated_ids(identity: str, times: int) -> Iterator[RejectedPicture]:
    """Iterates over all but the first image of an id, each under a name of its own."""
    for time in range(2, times + 1):
        yield RejectedPicture(f"{identity} (again, {time})", REPEATED_ID)


def _shuffle_key(one: ListedPicture, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} order ".encode() + one.digest).digest()


def _write(path: Path, examples: list[ListedPicture]) -> Shard:
    temporary = _temporary(path)
    labels = np.array([one.label for one in examples], np.int64)
    ids = tuple(one.id for one in examples)
    shard = write_shard(ShardSource(temporary, _ListedPictures(examples), labels, ids))
    temporary.replace(path)
    return replace(shard, file=path.name)


@dataclass(frozen=True)
class _ListedPictures:
    """Reads each image once more, so that engines move a few hundred bytes of it only."""

    examples: list[ListedPicture]

    def __iter__(self) -> Iterator[Picture]:
        for one in self.examples:
            encoded = read_encoded(one.address, one.offset, one.length)
            if isinstance(encoded, str) or hashlib.sha256(encoded).digest() != one.sha256:
                raise UserError(
                    f"Picture {one.address} changed while it was converted. Convert again."
                )
            info, encoded = one.info, stored_bytes(encoded, one.address)
            yield Picture(encoded, info.format, info.height, info.width, info.changes)


def _temporary(path: Path) -> Path:
    """Returns a unique name: two workers may write the same partition at a time."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}")
