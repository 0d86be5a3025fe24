"""What `predict` is given: encoded pictures, with the truth if it is known."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from inception_finetune.components.dataset.picture_formats import as_png_or_jpeg
from inception_finetune.components.dataset.probe import FILE_TOO_LARGE, LARGEST_FILE
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.object_store import short_reason
from inception_finetune.pipeline.prediction.addresses import PictureFile

_READERS: Final = 8  # threads: a store answers each request late, and many at a time
_AHEAD: Final = 16  # files that are read before they are asked for


@dataclass(frozen=True)
class Picture:
    """A picture to be classified."""

    name: str  # a path or address, or the id of a record
    encoded: bytes
    truth: str | None  # the label that it should get
    error: str = ""  # why there are no bytes


def read_pictures(files: Iterable[PictureFile], label_names: Sequence[str]) -> Iterator[Picture]:
    """Reads pictures in their order, a few files ahead; whether they are whole is not asked.

    The truth is the label of a record, or the name of the folder that a picture lies in, where
    that is a label's.

    Args:
      files: pictures and TFRecord files.
      label_names: names of all classes.

    Yields:
      A picture for each file and record. Of a file that cannot be read, and of a file of records
      from where it is damaged on, it says why.
    """
    waiting: deque[Future[Picture]] = deque()
    with ThreadPoolExecutor(_READERS) as readers:
        for file in files:
            if file.holds_records and Path(file.location).is_file():
                while waiting:
                    yield waiting.popleft().result()
                yield from _read_records(Path(file.location), label_names)
                continue
            waiting.append(readers.submit(read_picture, file, label_names))
            if len(waiting) == _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def read_picture(file: PictureFile, label_names: Sequence[str]) -> Picture:
    """Reads one file of a picture.

    Args:
      file: of a picture, not of records.
      label_names: names of all classes.

    Returns:
      The picture, or why it cannot be read.
    """
    truth = file.folder_name if file.folder_name in label_names else None
    encoded = _read_bytes(file)
    if isinstance(encoded, str):
        return Picture(file.name, b"", truth, encoded)
    return Picture(file.name, encoded, truth)


def _read_bytes(file: PictureFile) -> bytes | str:
    """Returns a PNG or JPEG, or the reason why there is none: the one place that opens the file."""
    try:
        if file.is_remote:
            encoded = _read_remote(file.location)
        else:
            with Path(file.location).open("rb") as opened:
                encoded = opened.read(LARGEST_FILE + 1)
    except Exception as error:  # noqa: BLE001 (each store raises its own; NUL is a ValueError)
        return f"it cannot be read ({short_reason(error)})"
    if len(encoded) > LARGEST_FILE:
        return FILE_TOO_LARGE
    stored = as_png_or_jpeg(encoded)
    return stored if isinstance(stored, str) else stored.encoded


def _read_remote(location: str) -> bytes:
    from fsspec.core import url_to_fs

    store, path = url_to_fs(location)
    # From the web in one stream, whether or not the server knows of ranges.
    options = {"block_size": 0} if "http" in store.protocol else {}
    with store.open(path, "rb", **options) as opened:
        return bytes(opened.read(LARGEST_FILE + 1))


def _read_records(path: Path, label_names: Sequence[str]) -> Iterator[Picture]:
    serialized = b""
    try:
        from inception_finetune.components.drift.records import read_records

        for serialized in read_records(str(path)):
            yield _of_record(serialized, str(path), label_names)
    except UserError as error:
        yield Picture(str(path), b"", None, str(error))
    except ModuleNotFoundError:
        reason = "records are read by TensorFlow, which is not installed"
        yield Picture(str(path), b"", None, reason)
    else:
        if not serialized:
            yield Picture(str(path), b"", None, "there are no records in it")


def _of_record(serialized: bytes, path: str, label_names: Sequence[str]) -> Picture:
    import tensorflow as tf

    from inception_finetune.components import features

    feature = tf.train.Example.FromString(serialized).features.feature
    encoded = feature[features.IMAGE_ENCODED].bytes_list.value
    identity = feature[features.IMAGE_ID].bytes_list.value
    label = feature[features.LABEL].int64_list.value
    known = bool(label) and 0 <= label[0] < len(label_names)
    return Picture(
        identity[0].decode(errors="replace") if identity else path,
        encoded[0] if encoded else b"",
        label_names[label[0]] if known else None,
    )
