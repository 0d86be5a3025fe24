"""Where each record of TFRecord files begins, so that they can be read in any order.

The order of training then is a function of seed and step alone: no shuffle buffer, and a run can
go on from any step.
"""

import hashlib
import io
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from google.protobuf.message import DecodeError

from components import features
from components.errors import UserError

# https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
_BEFORE = 12  # bytes: the length and its checksum
_AFTER = 4  # bytes: the checksum of the data

COMPRESSION = "GZIP"  # of the Examples artifacts that TFX writes


class IndexedWriter:
    """Writes records to one new TFRecord file and notes where they begin."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = 0  # bytes
        self._writer = tf.io.TFRecordWriter(path)

    def write(self, record: bytes) -> tuple[int, int]:
        """Returns the data's offset and length in bytes."""
        self._writer.write(record)
        offset = self.size + _BEFORE
        self.size = offset + len(record) + _AFTER
        return offset, len(record)

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True)
class RecordIndex:
    """Record ``[n, v]`` is view `v` of example `n`; examples without views have one column."""

    files: tuple[str, ...]
    file: npt.NDArray[np.int32]  # [N, V], which of `files`
    offset: npt.NDArray[np.int64]  # [N, V], bytes, of the data behind the record's header
    length: npt.NDArray[np.int64]  # [N, V], bytes

    def __len__(self) -> int:
        return len(self.file)

    def save(self, path: str) -> None:
        """Writes it with files named relative to `path`, so that the folder can move."""
        buffer = io.BytesIO()
        names = np.array([Path(name).name for name in self.files])
        np.savez(buffer, names=names, shard=self.file, offset=self.offset, length=self.length)
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(buffer.getvalue())

    @classmethod
    def load(cls, path: str, directory: str) -> "RecordIndex":
        """Reads what `save` wrote; the record files lie in `directory`."""
        with tf.io.gfile.GFile(path, "rb") as file:
            arrays = np.load(io.BytesIO(file.read()), allow_pickle=False)
        files = tuple(f"{directory}/{name}" for name in arrays["names"])
        return cls(files, arrays["shard"], arrays["offset"], arrays["length"])


class RecordReader:
    """Reads records by number; may be used by several threads."""

    def __init__(self, index: RecordIndex) -> None:
        self.index = index
        self._open = threading.local()

    def read(self, examples: Iterable[int], views: Iterable[int]) -> list[bytes]:
        """The records ``[examples[i], views[i]]``, serialized.

        Raises:
          UserError: a file is shorter than the index says.
        """
        return [self._read(example, view) for example, view in zip(examples, views, strict=True)]

    def _read(self, example: int, view: int) -> bytes:
        index = self.index
        path = index.files[index.file[example, view]]
        length = int(index.length[example, view])
        file = self._file(path)
        file.seek(int(index.offset[example, view]))
        record = file.read(length)
        if len(record) != length:
            raise UserError(f"{path} is shorter than its index says; run again from a fresh root")
        return bytes(record)

    def _file(self, path: str) -> "tf.io.gfile.GFile":
        files = self._open.__dict__
        if path not in files:
            files[path] = tf.io.gfile.GFile(path, "rb")
        return files[path]


def rank(identity: bytes) -> int:
    """Where the example of this id stands among all others.

    A Beam engine writes examples in whatever order its workers come to them, and training must
    not depend on that.
    """
    return int.from_bytes(hashlib.sha256(identity).digest()[:8], "big", signed=True)


def spool(files: Iterable[str], directory: Path) -> RecordIndex:
    """Copies TFX's compressed files, in which no record can be found, into an indexed one."""
    writer = IndexedWriter(str(directory / f"{uuid.uuid4().hex}.tfrecord"))
    records = tf.data.TFRecordDataset(list(files), COMPRESSION)
    rows = [
        (rank(_identity(record)), *writer.write(record)) for record in records.as_numpy_iterator()
    ]
    writer.close()
    table = np.array(rows, np.int64).reshape(-1, 3)
    places = table[np.argsort(table[:, 0], kind="stable"), 1:]
    return RecordIndex(
        files=(writer.path,),
        file=np.zeros([len(places), 1], np.int32),
        offset=places[:, :1],
        length=places[:, 1:],
    )


def _identity(record: bytes) -> bytes:
    """The example's id, or nothing: what is damaged is told of where it is decoded."""
    try:
        feature = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return b""
    ids = feature[features.IMAGE_ID].bytes_list.value
    return bytes(ids[0]) if ids else b""
