"""One part of a conversion on Beam: what a worker writes of it, and what it reports."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from components.dataset.bad_examples import GIVEN_ONCE, Policy
from components.dataset.leakage import Leak
from components.dataset.look import LARGEST_FILE, Seen
from components.dataset.manifest import Shard
from components.dataset.shards import ShardSource, write_shard
from components.dataset.source import Picture
from components.errors import UserError
from components.features import SPLITS, TEST, TRAIN

_REPORT: Final = ".json"  # beside a part's shards until the manifest is made


class Listed(NamedTuple):
    """A whole picture that was listed; where its bytes lie, and not the bytes themselves."""

    id: str
    address: str
    label: int
    split: str
    sha256: bytes  # of the bytes
    seen: Seen

    @property
    def digest(self) -> bytes:
        return self.seen.digest


class Bad(NamedTuple):
    """One that breaks a rule."""

    id: str
    reason: str


@dataclass(frozen=True)
class Reports:
    """What all parts together came to."""

    shards: dict[str, tuple[Shard, ...]]
    train_labels: frozenset[int]
    bad: dict[str, str]  # id -> reason
    leaks: list[Leak]

    @property
    def written(self) -> int:
        return sum(shard.examples for shard in chain(*self.shards.values()))


def read_address(address: str) -> bytes:
    """A picture's file, or a byte more than one may have.

    Raises:
      OSError: it cannot be read.
    """
    from apache_beam.io.filesystems import FileSystems

    with FileSystems.open(address) as file:
        return bytes(file.read(LARGEST_FILE + 1))


def place(found: Listed | Bad) -> int:
    """Which part it belongs to, before the division by their number: equal ones meet."""
    if isinstance(found, Bad):
        return number(hashlib.sha256(found.id.encode()).digest())
    return number(found.digest)


def number(digest: bytes) -> int:
    """In [0, 2**64)."""
    return int.from_bytes(digest[:8], "big")


def write_part(
    part: tuple[int, Iterable[Listed | Bad]],
    directory: str,
    parts: int,
    seed: int,
    policy: Policy,
) -> None:
    """Writes the part's shard of each split. Repeated, it writes the same files again."""
    here, everything = part[0], list(part[1])
    pictures = [found for found in everything if isinstance(found, Listed)]
    bad = sorted(found for found in everything if isinstance(found, Bad))
    for identity, same in groupby(list(bad), key=lambda one: one.id):
        bad += _again(identity, len(list(same)))
    chosen, leaks, again = _apart(pictures, policy)
    shards = {}
    for split in SPLITS:
        of_split = [one for one in chosen if one.split == split]
        if of_split:
            name = f"{split}-{here:05d}-of-{parts:05d}.tfrecord"
            of_split.sort(key=lambda one: (_shuffled(one, seed), one.id))
            shards[split] = asdict(_write(Path(directory) / name, of_split))
    report = {
        "shards": shards,
        "train_labels": sorted({one.label for one in chosen if one.split == TRAIN}),
        "bad": [*dict.fromkeys(bad), *again],
        "leaks": leaks,
    }
    path = Path(directory) / f"part-{here:05d}{_REPORT}"
    temporary = _temporary(path)
    temporary.write_text(json.dumps(report), "utf-8")
    temporary.replace(path)


def collect(directory: Path) -> Reports:
    """What the parts say they wrote and left out; tidies up."""
    shards: dict[str, list[Shard]] = {split: [] for split in SPLITS}
    labels: set[int] = set()
    bad: list[Bad] = []
    leaks: list[Leak] = []
    for path in sorted(directory.glob(f"part-*{_REPORT}")):
        report = json.loads(path.read_text("utf-8"))
        labels |= set(report["train_labels"])
        bad += [Bad(*one) for one in report["bad"]]
        leaks += [Leak(*one) for one in report["leaks"]]
        for split, shard in report["shards"].items():
            shards[split].append(Shard(**shard))
    written = {shard.file for shard in chain(*shards.values())}
    for path in list(directory.iterdir()):
        if path.name not in written:
            path.unlink()  # reports, and what a worker that died left behind
    return Reports(
        {split: tuple(found) for split, found in shards.items()},
        frozenset(labels),
        dict(sorted(bad)),
        sorted(leaks),
    )


def _apart(
    pictures: Iterable[Listed], policy: Policy
) -> tuple[list[Listed], list[Leak], list[Bad]]:
    """Pictures to write, those outside of test that are in test too, ids that come again."""
    chosen: list[Listed] = []
    leaks: list[Leak] = []
    again: list[Bad] = []
    ordered = sorted(pictures, key=lambda one: (one.digest, one.split == TEST, one.id, one.label))
    for _, group in groupby(ordered, key=lambda one: one.digest):
        equal: list[Listed] = []
        for (_, identity), same in groupby(group, key=lambda one: (one.split == TEST, one.id)):
            first, *others = same
            equal.append(first)
            again += _again(identity, 1 + len(others))
        tests = [one for one in equal if one.split == TEST]
        if tests and policy.on_leakage != "allow":
            leaks += [Leak(one.id, one.split, tests[0].id) for one in equal if one.split != TEST]
            equal = tests
        chosen += equal
    return chosen, leaks, again


def _again(identity: str, times: int) -> Iterator[Bad]:
    """All but the first, each under a name of its own."""
    for time in range(2, times + 1):
        yield Bad(f"{identity} (again, {time})", GIVEN_ONCE)


def _shuffled(one: Listed, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} order ".encode() + one.digest).digest()


def _write(path: Path, examples: list[Listed]) -> Shard:
    temporary = _temporary(path)
    labels = np.array([one.label for one in examples], np.int64)
    ids = tuple(one.id for one in examples)
    shard = write_shard(ShardSource(temporary, _Pictures(examples), labels, ids))
    temporary.replace(path)
    return replace(shard, file=path.name)


@dataclass(frozen=True)
class _Pictures:
    """Read once more, one at a time: engines then move a few hundred bytes of each picture."""

    examples: list[Listed]

    def __iter__(self) -> Iterator[Picture]:
        for one in self.examples:
            encoded = read_address(one.address)
            if hashlib.sha256(encoded).digest() != one.sha256:
                raise UserError(
                    "pictures must stay as they are while they are converted. Received: "
                    f"{one.address}, which changed; convert again"
                )
            seen = one.seen
            yield Picture(encoded, seen.format, seen.height, seen.width, seen.changes)


def _temporary(path: Path) -> Path:
    """Another one for each worker: two may write the same part at a time."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}")
