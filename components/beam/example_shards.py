"""An artifact's examples, read by all workers of a Beam engine and held in memory by none."""

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import tensorflow as tf
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from inception_finetune.components.io.record_index import COMPRESSION

# A worker that reads a piece first skips over what stands before it in the compressed file. So
# pieces are few: enough to keep workers equally busy, and whole files where there is one worker.
_RANGES_PER_WORKER = 8
_MIN_RANGE = 256  # examples
_UNKNOWN_WORKERS = 64  # where the engine itself decides how many there are


class ShardFile(NamedTuple):
    """A file of examples, and its number among its split's."""

    split: str
    number: int
    path: str


class ShardRange(NamedTuple):
    """Examples `start` to `stop - 1` of a file, read by one worker."""

    file: ShardFile
    start: int
    stop: int


class CountExamples(beam.PTransform):
    """The given files, each with the number of its examples."""

    def __init__(self, files: Sequence[ShardFile]) -> None:
        super().__init__()
        self._files = files

    def expand(self, root: beam.Pipeline) -> beam.PCollection[tuple[ShardFile, int]]:
        return (
            root
            | "Files" >> beam.Create(self._files)
            | "Spread" >> beam.Reshuffle()
            | "Count" >> beam.Map(_count)
        )


class SplitIntoRanges(beam.PTransform):
    """Counted files to pieces, spread over the workers.

    Not their records are spread, as Beam's readers would have it: an engine without disks keeps
    what it spreads in memory.
    """

    def __init__(self, files: int) -> None:
        super().__init__()
        self._files = files

    def expand(
        self, files_with_counts: beam.PCollection[tuple[ShardFile, int]]
    ) -> beam.PCollection[ShardRange]:
        max_ranges = max_ranges_per_file(files_with_counts.pipeline, self._files)
        return (
            files_with_counts
            | "Cut" >> beam.FlatMap(split_into_ranges, max_ranges)
            | "Spread" >> beam.Reshuffle()
        )


def shard_files(directory: str, split: str) -> list[ShardFile]:
    """The files of a split in `directory`."""
    paths = sorted(tf.io.gfile.glob(f"{directory}/*"))
    return [ShardFile(split, number, path) for number, path in enumerate(paths)]


def read_range(shard_range: ShardRange) -> Iterator[tuple[int, bytes]]:
    """The piece's serialized examples, each with its number in the file."""
    records = tf.data.TFRecordDataset(shard_range.file.path, COMPRESSION)
    range_records = records.skip(shard_range.start).take(shard_range.stop - shard_range.start)
    yield from enumerate(range_records.as_numpy_iterator(), start=shard_range.start)


def max_ranges_per_file(pipeline: beam.Pipeline, files: int) -> int:
    """Into how many pieces each of so many files may be cut."""
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
    """At most `most` pieces of about the same size."""
    file, examples = file_with_count
    size = max(_MIN_RANGE, -(-examples // max_ranges))
    for start in range(0, examples, size):
        yield ShardRange(file, start, min(start + size, examples))
