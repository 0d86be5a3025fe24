"""Reads an artifact's examples with all workers of a Beam engine, holding none in memory."""

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import tensorflow as tf
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from inception_finetune.components.io.record_index import COMPRESSION

# A worker that reads a range first skips over what precedes it in the compressed file. So ranges
# are few: enough to keep workers equally busy, and whole files where there is one worker.
_RANGES_PER_WORKER = 8
_MIN_RANGE = 256  # examples
_UNKNOWN_WORKERS = 64  # where the engine itself decides how many there are


class ShardFile(NamedTuple):
    """A file of examples and its number within its split."""

    split: str
    number: int
    path: str


class ShardRange(NamedTuple):
    """Examples `start` to `stop - 1` of a file, to be read by one worker."""

    file: ShardFile
    start: int
    stop: int


class CountExamples(beam.PTransform):
    """Counts the examples in each of the given files."""

    def __init__(self, files: Sequence[ShardFile]) -> None:
        super().__init__()
        self._files = files

    def expand(self, root: beam.Pipeline) -> beam.PCollection[tuple[ShardFile, int]]:
        """Returns (file, number of examples) for each file."""
        return (
            root
            | "Files" >> beam.Create(self._files)
            | "Spread" >> beam.Reshuffle()
            | "Count" >> beam.Map(_count)
        )


class SplitIntoRanges(beam.PTransform):
    """Splits counted files into ranges that are spread over the workers.

    Ranges are spread and not records, as Beam's own readers do: an engine without disks keeps in
    memory what it reshuffles.
    """

    def __init__(self, files: int) -> None:
        super().__init__()
        self._files = files

    def expand(
        self, files_with_counts: beam.PCollection[tuple[ShardFile, int]]
    ) -> beam.PCollection[ShardRange]:
        """Turns (file, number of examples) into ranges."""
        max_ranges = max_ranges_per_file(files_with_counts.pipeline, self._files)
        return (
            files_with_counts
            | "Cut" >> beam.FlatMap(split_into_ranges, max_ranges)
            | "Spread" >> beam.Reshuffle()
        )


def shard_files(directory: str, split: str) -> list[ShardFile]:
    """Lists the files of a split in `directory`."""
    paths = sorted(tf.io.gfile.glob(f"{directory}/*"))
    return [ShardFile(split, number, path) for number, path in enumerate(paths)]


def read_range(shard_range: ShardRange) -> Iterator[tuple[int, bytes]]:
    """Reads the examples of a range.

    Yields:
      The number of each example in its file, and the serialized example.
    """
    records = tf.data.TFRecordDataset(shard_range.file.path, COMPRESSION)
    range_records = records.skip(shard_range.start).take(shard_range.stop - shard_range.start)
    yield from enumerate(range_records.as_numpy_iterator(), start=shard_range.start)


def max_ranges_per_file(pipeline: beam.Pipeline, files: int) -> int:
    """Returns into how many ranges each of `files` files may be split.

    One worker reads whole files; several get `_RANGES_PER_WORKER` ranges each, over all files.
    """
    workers = _workers(pipeline)
    return 1 if workers == 1 else -(-workers * _RANGES_PER_WORKER // files)


def _workers(pipeline: beam.Pipeline) -> int:
    options = pipeline.options.get_all_options()
    if isinstance(pipeline.runner, FnApiRunner):
        return int(options["direct_num_workers"]) or os.cpu_count() or 1  # 0: all cores
    named = max(options["parallelism"], options["max_num_workers"] or 0)
    return named if named > 0 else _UNKNOWN_WORKERS


def _count(file: ShardFile) -> tuple[ShardFile, int]:
    records = tf.data.TFRecordDataset(file.path, COMPRESSION)
    return file, int(records.reduce(tf.constant(0, tf.int64), lambda number, _: number + 1))


def split_into_ranges(
    file_with_count: tuple[ShardFile, int], max_ranges: int
) -> Iterator[ShardRange]:
    """Splits a file into at most `max_ranges` ranges of about the same size.

    Args:
      file_with_count: the file and its number of examples.
      max_ranges: the largest number of ranges.
    """
    file, examples = file_with_count
    size = max(_MIN_RANGE, -(-examples // max_ranges))
    for start in range(0, examples, size):
        yield ShardRange(file, start, min(start + size, examples))
