"""An index of TFRecord files, for reading their records in any order.

With random access the order of training is a function of seed and step alone: no shuffle buffer is
needed, and a run can continue from any step.
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
    """Writes records to one new TFRecord file and returns their positions."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = 0  # bytes
        self._writer = tf.io.TFRecordWriter(path)

    def write(self, record: bytes) -> tuple[int, int, int]:
        """Appends a record.

        Returns:
          Offset of the data in bytes, its length in bytes, and its `content_hash`.
        """
        self._writer.write(record)
        offset = self.size + _BEFORE
        self.size = offset + len(record) + _AFTER
        return offset, len(record), content_hash(record)

    def close(self) -> None:
        """Flushes and closes the file."""
        self._writer.close()


@dataclass(frozen=True)
class RecordIndex:
    """Positions of N examples in V views each: record ``[n, v]`` is view `v` of example `n`.

    Examples without views have one column.
    """

    files: tuple[str, ...]
    file: npt.NDArray[np.int32]  # [N, V], which of `files`
    offset: npt.NDArray[np.int64]  # [N, V], bytes, of the data behind the record's header
    length: npt.NDArray[np.int64]  # [N, V], bytes
    content: npt.NDArray[np.int64]  # [N, V], `content_hash` of each record
    label: npt.NDArray[np.int64]  # [N]; -1 where the record is damaged
    # [N], a hash of what a record was computed from, where that counts.
    source: npt.NDArray[np.int64] | None = None

    @property
    def digest(self) -> str:
        """The sha256 of all records and labels in their order, whichever files hold them."""
        return hashlib.sha256(self.content.tobytes() + self.label.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.file)

    def save(self, path: str) -> None:
        """Writes the index to an .npz; file names are stored without their folder."""
        buffer = io.BytesIO()
        names = np.array([Path(name).name for name in self.files])
        arrays = {
            "names": names,
            "shard": self.file,
            "offset": self.offset,
            "length": self.length,
            "content": self.content,
            "label": self.label,
        }
        if self.source is not None:
            arrays["source"] = self.source
        np.savez(buffer, allow_pickle=False, **arrays)
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(buffer.getvalue())

    @classmethod
    def load(cls, path: str, directory: str) -> "RecordIndex":
        """Reads an index that `save` wrote.

        Args:
          path: of the index.
          directory: the folder of the record files.
        """
        with tf.io.gfile.GFile(path, "rb") as file:
            arrays = np.load(io.BytesIO(file.read()), allow_pickle=False)
        files = tuple(f"{directory}/{name}" for name in arrays["names"])
        return cls(
            files=files,
            file=arrays["shard"],
            offset=arrays["offset"],
            length=arrays["length"],
            content=arrays["content"],
            label=arrays["label"],
            source=arrays.get("source"),
        )


class RecordReader:
    """Reads records by number, from several threads if need be; close it after use."""

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
        """Closes all idle files; those that are being read are closed when the reading is done."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.popitem()[1].close()

    def read(self, examples: Iterable[int], views: Iterable[int]) -> list[bytes]:
        """Reads the records ``[examples[i], views[i]]``.

        Args:
          examples: numbers of examples.
          views: a number of a view for each of `examples`.

        Returns:
          The serialized records.

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
            raise UserError(
                f"{path} is shorter than its index says. Run again from a fresh root=DIRECTORY."
            )
        return bytes(record)

    @contextmanager
    def _file(self, path: str) -> Iterator["tf.io.gfile.GFile"]:
        """Yields an open file that no other thread seeks in meanwhile."""
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
    """Returns the first 8 bytes of the record's sha256, as a signed integer."""
    return int.from_bytes(hashlib.sha256(record).digest()[:8], "big", signed=True)


def order_key(identity: bytes) -> int:
    """Sort key of an example: the first 8 bytes of sha256(id), as a signed integer.

    A Beam engine writes examples in the order in which its workers finish; sorting by this key
    makes the order of training independent of it.
    """
    return int.from_bytes(hashlib.sha256(identity).digest()[:8], "big", signed=True)


def read_in_order(files: Iterable[str]) -> Iterator[bytes]:
    """Iterates over the records of TFX's compressed files in the order of the files."""
    return iter(tf.data.TFRecordDataset(list(files), COMPRESSION).as_numpy_iterator())


def copy_and_index(files: list[str], directory: Path, first: int | None = None) -> RecordIndex:
    """Copies TFX's compressed files, which allow no random access, into one indexed file.

    Args:
      files: gzip-compressed TFRecord files.
      directory: receives the copy.
      first: copy only the first of these records by `order_key`; the files are then read twice.

    Returns:
      The index of the copy, sorted by `order_key`, with one view an example.
    """
    last = None
    if first is not None:
        keys = sorted(order_key(identify(record)[0]) for record in read_in_order(files))
        last = keys[:first][-1] if keys else None
    writer = IndexedWriter(str(directory / f"{uuid.uuid4().hex}.tfrecord"))
    rows = []
    for record in read_in_order(files):
        identity, label = identify(record)
        key = order_key(identity)
        if last is None or key <= last:
            rows.append((key, label, *writer.write(record)))
    writer.close()
    table = np.array(rows, np.int64).reshape(-1, 5)
    table = table[np.argsort(table[:, 0], kind="stable")]
    return RecordIndex(
        files=(writer.path,),
        file=np.zeros([len(table), 1], np.int32),
        offset=table[:, 2:3],
        length=table[:, 3:4],
        content=table[:, 4:],
        label=table[:, 1],
    )


def identify(record: bytes) -> tuple[bytes, int]:
    """Returns an example's id and label.

    Args:
      record: a serialized Example.

    Returns:
      ``b""`` and -1 for a damaged record, which is reported when it is decoded.
    """
    try:
        feature = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return b"", -1
    ids = feature[features.IMAGE_ID].bytes_list.value
    labels = feature[features.LABEL].int64_list.value
    return bytes(ids[0]) if ids else b"", int(labels[0]) if labels else -1
