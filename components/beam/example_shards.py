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
_PIECES_A_WORKER = 8
_SMALLEST = 256  # examples
_UNKNOWN_WORKERS = 64  # where the engine itself decides how many there are


class File(NamedTuple):
    """A file of examples, and its number among its split's."""

    split: str
    number: int
    path: str


class Piece(NamedTuple):
    """Examples `start` to `stop - 1` of a file, read by one worker."""

    file: File
    start: int
    stop: int


class CountFiles(beam.PTransform):
    """The given files, each with the number of its examples."""

    def __init__(self, files: Sequence[File]) -> None:
        super().__init__()
        self._files = files

    def expand(self, root: beam.Pipeline) -> beam.PCollection[tuple[File, int]]:
        return (
            root
            | "Files" >> beam.Create(self._files)
            | "Spread" >> beam.Reshuffle()
            | "Count" >> beam.Map(_count)
        )


class CutFiles(beam.PTransform):
    """Counted files to pieces, spread over the workers.

    Not their records are spread, as Beam's readers would have it: an engine without disks keeps
    what it spreads in memory.
    """

    def __init__(self, files: int) -> None:
        super().__init__()
        self._files = files

    def expand(self, counted: beam.PCollection[tuple[File, int]]) -> beam.PCollection[Piece]:
        most = most_pieces(counted.pipeline, self._files)
        return counted | "Cut" >> beam.FlatMap(cut, most) | "Spread" >> beam.Reshuffle()


def files_of(directory: str, split: str) -> list[File]:
    """The files of a split in `directory`."""
    paths = sorted(tf.io.gfile.glob(f"{directory}/*"))
    return [File(split, number, path) for number, path in enumerate(paths)]


def read(piece: Piece) -> Iterator[tuple[int, bytes]]:
    """The piece's serialized examples, each with its number in the file."""
    records = tf.data.TFRecordDataset(piece.file.path, COMPRESSION)
    wanted = records.skip(piece.start).take(piece.stop - piece.start)
    yield from enumerate(wanted.as_numpy_iterator(), start=piece.start)


def most_pieces(pipeline: beam.Pipeline, files: int) -> int:
    """Into how many pieces each of so many files may be cut."""
    workers = _workers(pipeline)
    return 1 if workers == 1 else -(-workers * _PIECES_A_WORKER // files)


def _workers(pipeline: beam.Pipeline) -> int:
    options = pipeline.options.get_all_options()
    if isinstance(pipeline.runner, FnApiRunner):
        return int(options["direct_num_workers"]) or os.cpu_count() or 1  # 0: all cores
    named = max(options["parallelism"], options["max_num_workers"] or 0)
    return named if named > 0 else _UNKNOWN_WORKERS


def _count(file: File) -> tuple[File, int]:
    records = tf.data.TFRecordDataset(file.path, COMPRESSION)
    return file, int(records.reduce(tf.constant(0, tf.int64), lambda number, _: number + 1))


def cut(counted: tuple[File, int], most: int) -> Iterator[Piece]:
    """At most `most` pieces of about the same size."""
    file, examples = counted
    size = max(_SMALLEST, -(-examples // most))
    for start in range(0, examples, size):
        yield Piece(file, start, min(start + size, examples))
