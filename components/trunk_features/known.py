"""Features that an earlier artifact holds: of the same pictures, by the same trunk, as they are."""

import io
import json
import os
import shutil
import uuid
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Self

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.components.beam.watched import advance
from inception_finetune.components.io.record_index import RecordIndex, content_hash
from inception_finetune.components.trunk_features.settings import TrunkSettings

ROWS: Final = ".known.npy"  # end of files of `WriteKnown`, until the index is made
_MADE_BY: Final = "made-by.json"  # in an artifact, written last: the settings it was made with


def source_of(record: bytes) -> int:
    """Returns a hash of all of an example on which its features depend: its id and its picture.

    Args:
      record: a serialized Example.
    """
    feature = tf.train.Example.FromString(record).features.feature
    identity, encoded = (
        b"".join(feature[key].bytes_list.value)
        for key in (features.IMAGE_ID, features.IMAGE_ENCODED)
    )
    return content_hash(len(identity).to_bytes(8, "big") + identity + encoded)


def write_made_by(artifact_uri: str, settings: TrunkSettings) -> None:
    """Marks an artifact as whole, and notes what it was made with."""
    with tf.io.gfile.GFile(f"{artifact_uri}/{_MADE_BY}", "w") as file:
        file.write(_identity(settings))


def find_known(artifact_uri: str, settings: TrunkSettings) -> str | None:
    """Returns the newest artifact beside this one that was made with the same settings.

    What TFX keeps as artifacts of one output lies in one folder. That nothing but time depends on
    what is found there is why it is no input of the step, and no part of its cache key.

    Args:
      artifact_uri: of the artifact that is to be made.
      settings: that it is made with.
    """
    own = Path(artifact_uri)
    if not settings.transform_fingerprint or "://" in artifact_uri or not own.parent.is_dir():
        return None
    others = [path for path in own.parent.iterdir() if path.name.isdecimal() and path != own]
    for path in sorted(others, key=lambda path: int(path.name), reverse=True):
        try:
            if (path / _MADE_BY).read_text("utf-8") == _identity(settings):
                return str(path)
        except OSError:
            continue
    return None


def _identity(settings: TrunkSettings) -> str:
    return json.dumps(settings.model_dump(mode="json", exclude={"backbone_directory"}))


@dataclass(frozen=True)
class Known:
    """The features of one split of an earlier artifact."""

    index: RecordIndex | None  # None where there is no such artifact
    place: dict[int, int]  # `source_of` an example -> its number in the index

    @classmethod
    def load(cls, artifact_uri: str | None, split: str) -> Self:
        """Reads what there is; what lies in missing shards, or behind their end, is left out.

        Args:
          artifact_uri: of the earlier artifact; None where there is none.
          split: name of the split.
        """
        path = f"{artifact_uri}/index-{split}.npz"
        if artifact_uri is None or not Path(path).is_file():
            return cls(None, {})
        index = RecordIndex.load(path, f"{artifact_uri}/Split-{split}")
        if index.source is None:
            return cls(None, {})
        sizes = np.array([_size(file) for file in index.files], np.int64)
        whole = (index.offset + index.length <= sizes[index.file]).all(axis=1)
        place = {int(index.source[n]): int(n) for n in np.flatnonzero(whole)}
        return cls(index, place)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


@lru_cache(maxsize=len(features.SPLITS))
def load_known(artifact_uri: str | None, split: str) -> Known:
    """As `Known.load`, once for each worker."""
    return Known.load(artifact_uri, split)


class WriteKnown(beam.DoFn):
    """Writes where the features of known examples are, to files with unique names."""

    def __init__(self, directories: dict[str, str]) -> None:
        self._directories = directories  # by split

    def start_bundle(self) -> None:
        """Begins without rows."""
        self._rows: dict[str, list[tuple[int, ...]]] = {}

    def process(self, element: tuple[str, tuple[int, ...]]) -> None:
        """Takes one example.

        Args:
          element: its split and a row: file, number, source, order key, label, number in the index.
        """
        split, row = element
        self._rows.setdefault(split, []).append(row)
        advance(1)

    def finish_bundle(self) -> None:
        """Writes a file for each split."""
        for split, rows in self._rows.items():
            buffer = io.BytesIO()
            np.save(buffer, np.array(rows, np.int64))
            path = f"{self._directories[split]}/{uuid.uuid4().hex}{ROWS}"
            with tf.io.gfile.GFile(path, "wb") as file:
                file.write(buffer.getvalue())


def take_known(directory: str, known: Known, shards: list[str]) -> npt.NDArray[np.int64]:
    """Links the shards of known features that are needed, and returns a row for each record.

    Args:
      directory: the split's folder; the shards get their names there.
      known: of that split.
      shards: paths of shards; receives those that are linked.

    Returns:
      ``[records, 10]``: shard, file, number, view, source, order key, label, offset, length,
      content.
    """
    tables = [np.zeros([0, 6], np.int64)]
    for path in sorted(tf.io.gfile.glob(f"{directory}/*{ROWS}")):
        with tf.io.gfile.GFile(path, "rb") as file:
            tables.append(np.load(io.BytesIO(file.read()), allow_pickle=False))
    table = np.concatenate(tables)
    index, number = known.index, table[:, 5]
    if index is None or not len(table):
        return np.zeros([0, 10], np.int64)
    linked = np.full(len(index.files), -1, np.int64)
    for shard in np.unique(index.file[number]):
        linked[shard] = len(shards)
        shards.append(_link(index.files[shard], directory))
    views = index.file.shape[1]
    columns = [
        linked[index.file[number]],
        *(np.repeat(table[:, place, np.newaxis], views, axis=1) for place in (0, 1)),
        np.tile(np.arange(views), (len(table), 1)),
        *(np.repeat(table[:, place, np.newaxis], views, axis=1) for place in (2, 3, 4)),
        *(column[number] for column in (index.offset, index.length, index.content)),
    ]
    return np.stack([column.ravel() for column in columns], axis=1)


def _link(shard: str, directory: str) -> str:
    """Gives a shard a second name, or copies it where the file system has no such links."""
    target = f"{directory}/{Path(shard).name}"
    if not Path(target).exists():
        try:
            os.link(shard, target)
        except OSError:
            shutil.copyfile(shard, target)
    return target
