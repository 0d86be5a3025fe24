"""New records on disk: which files they are in, how many they are, and a sample of them."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.record_index import COMPRESSION
from inception_finetune.components.progress import Advance

_COMPRESSED = ".gz"
SUFFIXES = (".tfrecord", _COMPRESSED)


class Sample(NamedTuple):
    total: int  # number of all records
    serialized: tuple[bytes, ...]  # the chosen ones


def record_files(places: Sequence[Path]) -> list[str]:
    """The TFRecord files among `places`, and those in the folders among them.

    Raises:
      UserError: a place does not exist, or a folder holds no such file.
    """
    files: list[str] = []
    for place in places:
        if not place.exists():
            raise UserError(f"no such file or folder: {place}; check the path")
        candidates = [place] if place.is_file() else sorted(place.iterdir())
        records = [str(path) for path in candidates if path.name.endswith(SUFFIXES)]
        if not records:
            raise UserError(
                f"records must lie in files that end in {' or '.join(SUFFIXES)}. "
                f"Received: {place}; give such a file, or a folder of them"
            )
        files += records
    return files


def read_records(file: str) -> Iterator[bytes]:
    """The records of one file, compressed where its name says so.

    Raises:
      UserError: the file is damaged, or a record is no `tf.train.Example`.
    """
    compression = COMPRESSION if file.endswith(_COMPRESSED) else ""
    intact = 0
    try:
        for record in tf.data.TFRecordDataset(file, compression).as_numpy_iterator():
            tf.train.Example.FromString(record)
            intact += 1
            yield record
    except (tf.errors.DataLossError, DecodeError) as error:
        raise UserError(
            f"a record must be a whole tf.train.Example. Received: another in {file}, after "
            f"{intact} whole ones ({str(error).splitlines()[0][:120]}); write that file again"
        ) from error


def sample_records(files: Sequence[str], size: int, seed: int, advance: Advance) -> Sample:
    """Counts the records, and draws `size` of them at random, all if they are fewer.

    The sample alone is held in memory: of a stream of unknown length, each record has the same
    chance (reservoir sampling; Vitter 1985, algorithm R).

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
        raise UserError(f"no record in {', '.join(files)}; give files that hold examples")
    return Sample(total, tuple(sample))


def encoded_pictures(serialized: Sequence[bytes]) -> list[bytes]:
    """The pictures' bytes; empty where a record has none."""
    pictures = []
    for record in serialized:
        feature = tf.train.Example.FromString(record).features.feature
        values = feature[features.IMAGE_ENCODED].bytes_list.value
        pictures.append(values[0] if values else b"")
    return pictures
