"""New records on disk: their files, their number, and a random sample."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from inception_finetune.components import features
from inception_finetune.components.dataset.tfrecord import COMPRESSED, read_frames
from inception_finetune.components.errors import UserError
from inception_finetune.components.progress import Advance

SUFFIXES = (".tfrecord", COMPRESSED)


class Sample(NamedTuple):
    """A random sample of records."""

    total: int  # number of all records
    serialized: tuple[bytes, ...]  # the chosen ones


def record_files(places: Sequence[Path]) -> list[str]:
    """Lists the TFRecord files among `places`, and those in the folders among them.

    Raises:
      UserError: a place does not exist, or a folder holds no such file.
    """
    files: list[str] = []
    for place in places:
        if not place.exists():
            raise UserError(f"No such file or folder: {place}. Check the path.")
        candidates = [place] if place.is_file() else sorted(place.iterdir())
        records = [str(path) for path in candidates if path.name.endswith(SUFFIXES)]
        if not records:
            raise UserError(
                f"{place} holds no records: their files must end in {' or '.join(SUFFIXES)}. Give "
                "such a file, or a folder of them."
            )
        files += records
    return files


def read_records(file: str) -> Iterator[bytes]:
    """Iterates over the records of one file, compressed where its name says so.

    Args:
      file: path of a TFRecord file.

    Raises:
      UserError: the file is damaged, or a record is no `tf.train.Example`.
    """
    for number, (_, record) in enumerate(read_frames(Path(file)), start=1):
        try:
            if record is None:
                raise DecodeError("it does not fit its checksum")
            tf.train.Example.FromString(record)
        except DecodeError as error:
            raise UserError(
                f"Record {number} of {file} is not a whole tf.train.Example "
                f"({str(error).splitlines()[0][:120]}). Write that file again."
            ) from error
        yield record


def sample_records(files: Sequence[str], size: int, seed: int, advance: Advance) -> Sample:
    """Counts the records and draws a random sample.

    Only the sample is held in memory: of a stream of unknown length, each record has the same
    chance (reservoir sampling; Vitter 1985, algorithm R).

    Args:
      files: TFRecord files.
      size: of the sample; all records if they are fewer.
      seed: of the sample.
      advance: is called after each record.

    Raises:
      UserError: a file is damaged, or there is no record.
    """
    random = np.random.default_rng(seed)
    sample: list[bytes] = []
    total = 0
    for record in itertools.chain.from_iterable(map(read_records, files)):
        total += 1
        advance(1)
        if len(sample) < size:
            sample.append(record)
        elif (place := int(random.integers(total))) < size:
            sample[place] = record
    if not total:
        raise UserError(f"No records in {', '.join(files)}. Give files that hold examples.")
    return Sample(total, tuple(sample))


def encoded_pictures(serialized: Sequence[bytes]) -> list[bytes]:
    """Returns the images' bytes; empty where a record has none."""
    pictures = []
    for record in serialized:
        feature = tf.train.Example.FromString(record).features.feature
        values = feature[features.IMAGE_ENCODED].bytes_list.value
        pictures.append(values[0] if values else b"")
    return pictures
