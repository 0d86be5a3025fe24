"""Spans of a growing data set: each is read, checked and stored once; a window of them is a source.

A stored span is a folder of a TFRecord file, its ``labels.txt`` and, written last, what was found
of each picture, so that no picture is decoded again while its span stays as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from inception_finetune.components.dataset import tree
from inception_finetune.components.dataset.bad_examples import Policy
from inception_finetune.components.dataset.convert import labels_text
from inception_finetune.components.dataset.encoded_source import EncodedSource
from inception_finetune.components.dataset.hold_out import rank
from inception_finetune.components.dataset.listing import file_state
from inception_finetune.components.dataset.shards import ShardSource, write_shard
from inception_finetune.components.dataset.source import EncodedLocation, Source
from inception_finetune.components.dataset.tfrecord import read_frames
from inception_finetune.components.features import LABELS_FILE, TEST, TRAIN, VALIDATION
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.components.io.whole_file import whole_file

_VERSION: Final = 1  # raise it when the same files are stored otherwise
_RECORDS: Final = "train-00000-of-00001.tfrecord"
_FOUND: Final = "span.json"
_RANKS: Final = 2**64


class StoredPicture(NamedTuple):
    """A readable picture of a span."""

    id: str
    label_name: str
    digest: bytes  # of the pixels
    location: EncodedLocation


@dataclass(frozen=True)
class StoredSpan:
    """The pictures of a span as they are stored."""

    name: str  # such as 2026-11-28; ids begin with it
    fingerprint: str  # of the files that it was read from
    pictures: tuple[StoredPicture, ...]
    skipped: dict[str, str]  # id -> reason, of bad pictures that were left out


def span_fingerprint(path: Path, settings: Sequence[str | None]) -> str:
    """Returns a hash that changes with the files of a span, by their names, sizes and times.

    Args:
      path: a file or folder.
      settings: by which it is read.
    """
    digest = hashlib.sha256(json.dumps([_VERSION, *settings]).encode())
    # Links to folders are followed, as they are when the span is read.
    for file in sorted(tree.files(path)) if path.is_dir() else [path]:
        line = f"{file.relative_to(path)}\0{file_state(str(file))}\n"
        digest.update(line.encode(errors="surrogateescape"))  # names need not be UTF-8
    return digest.hexdigest()


def load_span(directory: Path, fingerprint: str, policy: Policy) -> StoredSpan | None:
    """Reads a stored span; None if it is not stored, of other files, or against the policy.

    Args:
      directory: of the stored span.
      fingerprint: of its files as they are now.
      policy: what happens to bad examples.
    """
    records = directory / _RECORDS
    try:
        found: dict[str, Any] = json.loads((directory / _FOUND).read_text("utf-8"))
        is_whole = found["fingerprint"] == fingerprint and records.stat().st_size == found["size"]
        if not is_whole or (found["skipped"] and policy.on_bad_example == "fail"):
            return None
        pictures = tuple(
            StoredPicture(
                id_,
                label_name,
                bytes.fromhex(digest),
                EncodedLocation(str(records), offset, length, form, height, width, tuple(changes)),
            )
            for id_, label_name, digest, offset, length, form, height, width, changes in found[
                "pictures"
            ]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return StoredSpan(found["name"], fingerprint, pictures, found["skipped"])


def store_span(source: Source, name: str, fingerprint: str, directory: Path) -> None:
    """Writes the checked pictures of a span, whole or not at all.

    Args:
      source: its pictures.
      name: of the span.
      fingerprint: of its files.
      directory: receives it; an older one there is replaced.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(f".{directory.name}-", directory.parent) as scratch:
        fresh = scratch / "new"
        fresh.mkdir()
        kept = [i for i, id_ in enumerate(source.ids) if id_ not in source.skipped]
        indices = np.array(kept, np.int64)
        ids = tuple(f"{name}/{source.ids[index]}" for index in kept)
        records = fresh / _RECORDS
        places: list[tuple] = []
        shard = write_shard(
            ShardSource(
                records, _Noted(source.pictures(indices), places), source.labels[indices], ids
            )
        )
        rows = [
            [
                id_,
                source.label_names[source.labels[index]],
                source.digests[index].hex(),
                offset,
                *place,
            ]
            for id_, index, place, offset in zip(ids, kept, places, _offsets(records), strict=True)
        ]
        (fresh / LABELS_FILE).write_text(labels_text(source.label_names), "utf-8")
        found = {
            "name": name,
            "fingerprint": fingerprint,
            "size": shard.size,
            "skipped": {f"{name}/{id_}": why for id_, why in source.skipped.items()},
            "pictures": rows,
        }
        with whole_file(fresh / _FOUND) as temporary:
            temporary.write_text(json.dumps(found), "utf-8")
        if directory.exists():
            directory.rename(scratch / "old")
        fresh.rename(directory)


class _Noted:
    """Passes pictures on, and notes what is to be known of each."""

    def __init__(self, pictures: Iterable, places: list[tuple]) -> None:
        self._pictures, self._places = pictures, places

    def __iter__(self) -> Iterator:
        for one in self._pictures:
            self._places.append((len(one.encoded), one.format, one.height, one.width, one.changes))
            yield one


def _offsets(records: Path) -> Iterator[int]:
    """Iterates over where the pictures begin in a file of records, in bytes."""
    import tensorflow as tf

    from inception_finetune.components.features import IMAGE_ENCODED

    for offset, record in read_frames(records):
        assert record is not None  # it was written a moment ago
        feature = tf.train.Example.FromString(record).features.feature[IMAGE_ENCODED]
        yield offset + record.index(feature.bytes_list.value[0])


class Window(NamedTuple):
    """The spans that a run is made of."""

    train: tuple[StoredSpan, ...]  # also carved into validation
    newest: StoredSpan | None  # the newest span, where its pictures are test pictures
    golden: StoredSpan | None  # test pictures that stay the same


def window_source(
    window: Window, validation_fraction: float, seed: int
) -> tuple[EncodedSource, tuple[str, ...]]:
    """Makes one source of the spans of a window.

    Whether a picture is held out for validation hangs on its pixels and the seed alone: it never
    changes sides while the window moves on. Only pictures of a class that would have no train
    picture are all train. Test pictures of classes that the window does not know are left out.

    Args:
      window: the spans.
      validation_fraction: of the window's pictures, in (0, 1).
      seed: of the validation split.

    Returns:
      The source, and notes on it.
    """
    taught = [one for span in window.train for one in span.pictures]
    names = tuple(sorted({one.label_name for one in taught}))
    numbers = {name: number for number, name in enumerate(names)}
    bound = validation_fraction * _RANKS
    held_out = [rank(one.digest, VALIDATION, seed) < bound for one in taught]
    train_counts = Counter(
        one.label_name for one, is_out in zip(taught, held_out, strict=True) if not is_out
    )
    splits = [
        VALIDATION if is_out and train_counts[one.label_name] else TRAIN
        for one, is_out in zip(taught, held_out, strict=True)
    ]
    tests = [span for span in (window.newest, window.golden) if span is not None]
    tested = [one for span in tests for one in span.pictures]
    unknown = Counter(one.label_name for one in tested if one.label_name not in numbers)
    tested = [one for one in tested if one.label_name in numbers]
    notes = []
    if unknown:
        notes.append(
            f"{unknown.total():,} test pictures of classes that no span of the window has are left "
            f"out: {', '.join(sorted(unknown))}"
        )
    pictures, used = [*taught, *tested], [*window.train, *tests]
    digest = hashlib.sha256(json.dumps([names, splits]).encode())
    for span in used:
        digest.update(f"{span.name}\0{span.fingerprint}\0{len(span.pictures)}\n".encode())
    digest.update(f"{len(window.train)} {window.newest is not None}".encode())
    source = EncodedSource(
        label_names=names,
        fingerprint=digest.hexdigest(),
        ids=[one.id for one in pictures],
        splits=np.array([*splits, *[TEST] * len(tested)], np.str_),
        labels=np.array([numbers[one.label_name] for one in pictures], np.int64),
        digests=[one.digest for one in pictures],
        blanks=np.zeros(len(pictures), np.bool_),
        locations=[one.location for one in pictures],
        skipped={id_: why for span in used for id_, why in span.skipped.items()},
    )
    return source, tuple(notes)
