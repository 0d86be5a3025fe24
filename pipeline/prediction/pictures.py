"""What `predict` is given: picture files, folders of them, or records, with the truth if known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from inception_finetune.components.dataset import tree
from inception_finetune.components.dataset.probe import FILE_TOO_LARGE, LARGEST_FILE
from inception_finetune.components.errors import UserError

_SUFFIXES: Final = (".png", ".jpg", ".jpeg")  # of what is looked for in folders
_RECORDS: Final = (".tfrecord", ".gz")


@dataclass(frozen=True)
class Picture:
    """A picture to be classified."""

    name: str  # a path, or the id of a record
    encoded: bytes
    truth: str | None  # the label that it should get
    error: str = ""  # why there are no bytes


def read_pictures(places: Sequence[Path], label_names: Sequence[str]) -> Iterator[Picture]:
    """The pictures in `places`, in that order, one at a time; whether they are whole is not asked.

    The truth is the label of a record, or the name of the folder that a picture lies in, where
    that is a label's. In folders, what systems leave there is not looked at.

    Raises:
      UserError: a place does not exist, or a folder holds no picture; before the first is read.
    """
    found = [(place, _files(place)) for place in places]
    return (picture for place, files in found for picture in _read(place, files, label_names))


def _files(place: Path) -> list[Path]:
    if not place.exists():
        raise UserError(f"No such file or folder: {place}. Check the path.")
    if not place.is_dir():
        return [place]
    found = [path for path in tree.files(place) if path.suffix.lower() in _SUFFIXES]
    if not found:
        raise UserError(
            f"No pictures ({', '.join(_SUFFIXES)}) in folder {place}. "
            "Give another, or name the files."
        )
    return found


def _read(place: Path, files: Sequence[Path], label_names: Sequence[str]) -> Iterator[Picture]:
    if place.is_file() and place.name.endswith(_RECORDS):
        yield from _read_records(place, label_names)
        return
    for path in files:
        yield _read_file(path, label_names)


def _read_file(path: Path, label_names: Sequence[str]) -> Picture:
    folder = path.absolute().parent.name
    truth = folder if folder in label_names else None
    try:
        with path.open("rb") as file:
            encoded = file.read(LARGEST_FILE + 1)
    except OSError as error:
        return Picture(str(path), b"", truth, f"it cannot be read ({error.strerror})")
    if len(encoded) > LARGEST_FILE:
        return Picture(str(path), b"", truth, FILE_TOO_LARGE)
    return Picture(str(path), encoded, truth)


def _read_records(path: Path, label_names: Sequence[str]) -> Iterator[Picture]:
    import tensorflow as tf

    from inception_finetune.components import features
    from inception_finetune.components.drift.records import read_records

    record = b""
    for record in read_records(str(path)):
        feature = tf.train.Example.FromString(record).features.feature
        encoded = feature[features.IMAGE_ENCODED].bytes_list.value
        identity = feature[features.IMAGE_ID].bytes_list.value
        label = feature[features.LABEL].int64_list.value
        known = bool(label) and 0 <= label[0] < len(label_names)
        yield Picture(
            identity[0].decode(errors="replace") if identity else str(path),
            encoded[0] if encoded else b"",
            label_names[label[0]] if known else None,
        )
    if not record:
        raise UserError(f"No records in {path}: it is empty. Give a file that holds examples.")
