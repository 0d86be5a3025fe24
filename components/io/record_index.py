"""Where each record of TFRecord files begins, so that they can be read in any order.

The order of training then is a function of seed and step alone: no shuffle buffer, and a run can
go on from any step.
"""

import hashlib
import io
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from google.protobuf.message import DecodeError

from inception_finetune.components import features
from inception_finetune.components.errors import UserError

# https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
_BEFORE = 12  # bytes: the length and its checksum
_AFTER = 4  # bytes: the checksum of the data

_IDLE_FILES = 16  # that a reader keeps open

COMPRESSION = "GZIP"  # of the Examples artifacts that TFX writes


class IndexedWriter:
    """Writes records to one new TFRecord file and notes where they begin."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = 0  # bytes
        self._writer = tf.io.TFRecordWriter(path)

    def write(self, record: bytes) -> tuple[int, int, int]:
        """Returns the data's offset and length in bytes, and its `content_hash`."""
        self._writer.write(record)
        offset = self.size + _BEFORE
        self.size = offset + len(record) + _AFTER
        return offset, len(record), content_hash(record)

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True)
class RecordIndex:
    """Record ``[n, v]`` is view `v` of example `n`; examples without views have one column."""

    files: tuple[str, ...]
    file: npt.NDArray[np.int32]  # [N, V], which of `files`
    offset: npt.NDArray[np.int64]  # [N, V], bytes, of the data behind the record's header
    length: npt.NDArray[np.int64]  # [N, V], bytes
    content: npt.NDArray[np.int64]  # [N, V], `content_hash` of each record

    @property
    def digest(self) -> str:
        """Of all records in their order, wherever they lie."""
        return hashlib.sha256(self.content.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.file)

    def save(self, path: str) -> None:
        """Writes it with files named relative to `path`, so that the folder can move."""
        buffer = io.BytesIO()
        names = np.array([Path(name).name for name in self.files])
        np.savez(
            buffer,
            names=names,
            shard=self.file,
            offset=self.offset,
            length=self.length,
            content=self.content,
        )
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(buffer.getvalue())

    @classmethod
    def load(cls, path: str, directory: str) -> "RecordIndex":
        """Reads what `save` wrote; the record files lie in `directory`."""
        with tf.io.gfile.GFile(path, "rb") as file:
            arrays = np.load(io.BytesIO(file.read()), allow_pickle=False)
        files = tuple(f"{directory}/{name}" for name in arrays["names"])
        columns = (arrays[name] for name in ("shard", "offset", "length", "content"))
        return cls(files, *columns)


class RecordReader:
    """Reads records by number; may be used by several threads, and is to be closed."""

    def __init__(self, index: RecordIndex) -> None:
        self.index = index
        self._lock = threading.Lock()
        self._idle: OrderedDict[str, tf.io.gfile.GFile] = OrderedDict()  # the last used comes last
        self._closed = False

    def __enter__(self) -> "RecordReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """What is still being read is closed when that is done."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.popitem()[1].close()

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
        with self._file(path) as file:
            file.seek(int(index.offset[example, view]))
            record = file.read(length)
        if len(record) != length:
            raise UserError(f"{path} is shorter than its index says; run again from a fresh root")
        return bytes(record)

    @contextmanager
    def _file(self, path: str) -> Iterator["tf.io.gfile.GFile"]:
        """One that no other thread seeks in meanwhile."""
        with self._lock:
            file = self._idle.pop(path, None)
        file = file or tf.io.gfile.GFile(path, "rb")
        try:
            yield file
        except BaseException:
            file.close()
            raise
        with self._lock:
            surplus = self._idle.pop(path, None)  # of a thread that read the same file
            self._idle[path] = file
            if self._closed or len(self._idle) > _IDLE_FILES:
                self._idle.popitem(last=self._closed)[1].close()
        if surplus:
            surplus.close()


def content_hash(record: bytes) -> int:
    """Tells records apart, in 8 bytes."""
    return int.from_bytes(hashlib.sha256(record).digest()[:8], "big", signed=True)


def order_key(identity: bytes) -> int:
    """Where the example of this id stands among all others.

    A Beam engine writes examples in whatever order its workers come to them, and training must
    not depend on that.
    """
    return int.from_bytes(hashlib.sha256(identity).digest()[:8], "big", signed=True)


def read_in_order(files: Iterable[str]) -> Iterator[bytes]:
    """The records of TFX's compressed files as they lie there."""
    return iter(tf.data.TFRecordDataset(list(files), COMPRESSION).as_numpy_iterator())


def copy_and_index(files: list[str], directory: Path, first: int | None = None) -> RecordIndex:
    """Copies TFX's compressed files, in which no record can be found, into an indexed one.

    With `first`, only the records that come first by `rank`; the files are then read twice.
    """
    last = None
    if first is not None:
        keys = sorted(order_key(_identity(record)) for record in read_in_order(files))
        last = keys[:first][-1] if keys else None
    writer = IndexedWriter(str(directory / f"{uuid.uuid4().hex}.tfrecord"))
    rows = []
    for record in read_in_order(files):
        key = order_key(_identity(record))
        if last is None or key <= last:
            rows.append((key, *writer.write(record)))
    writer.close()
    table = np.array(rows, np.int64).reshape(-1, 4)
    table = table[np.argsort(table[:, 0], kind="stable")]
    return RecordIndex(
        files=(writer.path,),
        file=np.zeros([len(table), 1], np.int32),
        offset=table[:, 1:2],
        length=table[:, 2:3],
        content=table[:, 3:],
    )


def _identity(record: bytes) -> bytes:
    """The example's id, or nothing: what is damaged is told of where it is decoded."""
    try:
        feature = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return b""
    ids = feature[features.IMAGE_ID].bytes_list.value
    return bytes(ids[0]) if ids else b""
