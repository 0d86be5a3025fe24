"""The examples' files in pieces: how many there are for the workers, and what one of them holds."""

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import apache_beam as beam
import tensorflow as tf
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from components.record_index import COMPRESSION
from components.trunk_features.handler import ImageView
from components.trunk_features.store import File, Key

# A worker that reads a piece first skips over what stands before it in the compressed file. So
# pieces are few: enough to keep workers equally busy, and whole files where there is one worker.
_PIECES_A_WORKER = 8
_SMALLEST = 256  # examples
_UNKNOWN_WORKERS = 64  # where the engine itself decides how many there are


class Piece(NamedTuple):
    """Examples `start` to `stop - 1` of a file, read by one worker."""

    file: File
    start: int
    stop: int


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


def count(file: File) -> tuple[File, int]:
    """The file with the number of its examples."""
    records = tf.data.TFRecordDataset(file.path, COMPRESSION)
    return file, int(records.reduce(tf.constant(0, tf.int64), lambda number, _: number + 1))


def cut(counted: tuple[File, int], most: int) -> Iterator[Piece]:
    file, examples = counted
    size = max(_SMALLEST, -(-examples // most))
    for start in range(0, examples, size):
        yield Piece(file, start, min(start + size, examples))


def read(piece: Piece, views: Mapping[str, int]) -> Iterator[tuple[Key, ImageView]]:
    """Each example as often as its split has views."""
    (split, number, path), start, stop = piece
    records = tf.data.TFRecordDataset(path, COMPRESSION).skip(start).take(stop - start)
    for position, serialized in enumerate(records.as_numpy_iterator(), start=start):
        for view in range(views[split]):
            yield Key(split, number, position, view), ImageView(serialized, view)
