"""Features on disk: shards that workers write, and one index for each split, written last."""

import io
import json
import shutil
import uuid
from collections.abc import Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf

from inception_finetune.components.beam.example_shards import ShardFile
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.record_index import IndexedWriter, RecordIndex, order_key
from inception_finetune.components.trunk_features.known import Known, take_known
from inception_finetune.components.trunk_features.record import TrunkOutput, encode

SHARD_BYTES = 256 * 2**20  # a shard is closed once it is as large as this
SAMPLE = 64  # records that are written before their mean size is taken for that of all
_ORIGIN = "examples-uri.txt"
_COUNTS = "counts.json"  # until the index is made
_ROWS = ".rows.npy"  # beside each shard until the index is made: where its records are


class Key(NamedTuple):
    """Identifies a record; the order of keys is the order of the examples."""

    split: str
    file: int  # number of the input file
    number: int  # of the example in that file
    view: int
    source: int = 0  # `known.source_of` the example


class WriteShards(beam.DoFn):
    """Writes ``(Key, TrunkOutput)`` to shards with unique names.

    When Beam repeats a bundle, the shards of its first attempt stay behind; the index decides which
    ones are used.

    Raises:
      UserError: judging by the size of the first records, the disk cannot hold all of them.
    """

    def __init__(self, directories: dict[str, str]) -> None:
        self._directories = directories  # by split

    def start_bundle(self) -> None:
        """Begins without open shards."""
        self._writers: dict[str, IndexedWriter] = {}
        self._rows: dict[str, list[tuple[int, ...]]] = {}
        self._is_first = False  # whether this bundle holds the first record of a split

    def process(self, element: tuple[Key, TrunkOutput], records: int) -> None:
        """Writes one record.

        Args:
          element: the record's key and its output.
          records: number of records in all splits.
        """
        (split, *position, source), output = element
        self._is_first |= not any(position)
        if split not in self._writers:
            path = f"{self._directories[split]}/{uuid.uuid4().hex}.tfrecord"
            self._writers[split], self._rows[split] = IndexedWriter(path), []
        writer = self._writers[split]
        written = writer.write(encode(output))
        row = (*position, source, order_key(output.id), output.label, *written)
        self._rows[split].append(row)
        if self._is_first and len(self._rows[split]) == SAMPLE:
            check_disk_space(self._directories[split], writer.size / SAMPLE, records - SAMPLE)
            self._is_first = False
        if writer.size >= SHARD_BYTES:
            self._close(split)

    def finish_bundle(self) -> None:
        """Closes all shards."""
        for split in list(self._writers):
            self._close(split)

    def _close(self, split: str) -> None:
        writer = self._writers.pop(split)
        writer.close()
        buffer = io.BytesIO()
        np.save(buffer, np.array(self._rows.pop(split), np.int64))
        with tf.io.gfile.GFile(writer.path + _ROWS, "wb") as file:
            file.write(buffer.getvalue())


def check_disk_space(directory: str, record_bytes: float, records: int) -> None:
    """Compares the space that more records need with what is free.

    Args:
      directory: where they are written; an object store is not checked.
      record_bytes: mean size of a record.
      records: number of records to come.

    Raises:
      UserError: they do not fit.
    """
    if "://" in directory:
        return
    needed, free = record_bytes * records, shutil.disk_usage(directory).free
    if needed > free:
        raise UserError(
            f"Trunk features do not fit on the disk: {records:,} of {record_bytes / 1e3:.0f} "
            f"KB take {needed / 1e9:,.1f} GB, and {directory} has {free / 1e9:,.1f} GB. Free "
            "disk space, or give another root=DIRECTORY, a later backbone.trainable_from, or "
            "feature_cache=false."
        )


def commit(
    directory: str, index_path: str, counts: list[int], views: int, known: Known | None = None
) -> int:
    """Writes one index of the shards in `directory`, and removes all other files there.

    Args:
      directory: the split's folder.
      index_path: receives the index.
      counts: number of examples in each input file.
      views: number of records that each example must have.
      known: features that `WriteKnown` refers to.

    Returns:
      Number of examples whose features were known.

    Raises:
      UserError: a record is missing.
    """
    shards, table = _read_rows(directory)
    computed = len(shards)
    if known is not None:
        table = np.concatenate([table, take_known(directory, known, shards)])
    shard, file, number, view, source, order, label, offset, length, content = table.T
    starts = np.concatenate([[0], np.cumsum(counts)])
    record = (starts[file] + number) * views + view
    present, first = np.unique(record, return_index=True)
    expected = int(starts[-1]) * views
    if len(present) != expected:
        raise UserError(
            f"Trunk features are incomplete: {expected - len(present)} of {expected} records "
            f"are missing in {directory}. Run again."
        )
    # By id, as record_index.copy_and_index has the raw examples.
    first = first.reshape(-1, views)
    first = first[np.argsort(order[first[:, 0]], kind="stable")]
    index = RecordIndex(
        files=tuple(shards),
        file=shard[first].astype(np.int32),
        offset=offset[first],
        length=length[first],
        content=content[first],
        label=label[first[:, 0]],
        source=source[first[:, 0]],
    )
    index.save(index_path)
    needed = {shards[number] for number in np.unique(index.file)}
    for path in tf.io.gfile.glob(f"{directory}/*"):
        if path not in needed:
            tf.io.gfile.remove(path)
    return int((index.file[:, 0] >= computed).sum())


def _read_rows(directory: str) -> tuple[list[str], np.ndarray]:
    """Reads the shards' paths, and a row for each record.

    A row is [shard, file, number, view, source, order key, label, offset, length, content].
    """
    shards: list[str] = []
    tables = [np.zeros([0, 10], np.int64)]
    for path in sorted(tf.io.gfile.glob(f"{directory}/*{_ROWS}")):
        with tf.io.gfile.GFile(path, "rb") as file:
            rows = np.load(io.BytesIO(file.read()), allow_pickle=False)
        tables.append(np.column_stack([np.full(len(rows), len(shards)), rows]))
        shards.append(path.removesuffix(_ROWS))
    return shards, np.concatenate(tables)


def write_counts(files_with_counts: Sequence[tuple[ShardFile, int]], artifact_uri: str) -> None:
    """Stores the number of examples in each input file, until `pop_counts`."""
    with tf.io.gfile.GFile(f"{artifact_uri}/{_COUNTS}", "w") as out:
        json.dump(files_with_counts, out)


def pop_counts(artifact_uri: str) -> dict[str, list[int]]:
    """Reads and removes what `write_counts` stored.

    Returns:
      By split, the counts in the order of its files.
    """
    path = f"{artifact_uri}/{_COUNTS}"
    with tf.io.gfile.GFile(path) as counts_file:
        files_with_counts = sorted(json.load(counts_file))
    tf.io.gfile.remove(path)
    counts: dict[str, list[int]] = {}
    for (split, _, _), count in files_with_counts:
        counts.setdefault(split, []).append(count)
    return counts


def index_path(artifact_uri: str, split: str) -> str:
    """Returns the path of a split's index: beside the split's folder, which holds records only."""
    return f"{artifact_uri}/index-{split}.npz"


def write_origin(artifact_uri: str, examples_uri: str) -> None:
    """Stores the URI of the Examples artifact that the features were made of."""
    with tf.io.gfile.GFile(f"{artifact_uri}/{_ORIGIN}", "w") as file:
        file.write(examples_uri)


def read_origin(artifact_uri: str) -> str:
    """Returns the URI of the Examples artifact with the images, in the same order.

    An artifact that holds no trunk features is its own origin.
    """
    path = f"{artifact_uri}/{_ORIGIN}"
    if not tf.io.gfile.exists(path):
        return artifact_uri
    with tf.io.gfile.GFile(path) as file:
        return str(file.read())
