"""What `predict` is given: picture files, folders of them, or records, with the truth if known."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from components.errors import UserError

READABLE = ("PNG", "JPEG")
_SUFFIXES = (".png", ".jpg", ".jpeg")  # of what is looked for in folders
_RECORDS = (".tfrecord", ".gz")


@dataclass(frozen=True)
class Picture:
    name: str  # a path, or the id of a record
    encoded: bytes
    truth: str | None  # the label that it should get


def read_pictures(places: Sequence[Path], label_names: Sequence[str]) -> list[Picture]:
    """The pictures in `places`, in that order.

    The truth is the label of a record, or the name of the folder that a picture lies in, where
    that is a label's.

    Raises:
      UserError: a file is no whole picture, or a folder holds none.
    """
    return [picture for place in places for picture in _read(place, label_names)]


def _read(place: Path, label_names: Sequence[str]) -> Iterable[Picture]:
    if place.is_dir():
        found = [path for path in sorted(place.rglob("*")) if path.suffix.lower() in _SUFFIXES]
        if not found:
            raise UserError(
                f"a folder must hold pictures ({', '.join(_SUFFIXES)}). Received: {place}; "
                "give one that does, or name the files"
            )
        return [_read_file(path, label_names) for path in found]
    if place.name.endswith(_RECORDS) and place.is_file():
        return list(_read_records(place, label_names))
    return [_read_file(place, label_names)]


def _read_file(path: Path, label_names: Sequence[str]) -> Picture:
    """The file's bytes, once Pillow has decoded all of it."""
    try:
        with Image.open(path, formats=READABLE) as picture:
            picture.load()
        folder = path.absolute().parent.name
        return Picture(str(path), path.read_bytes(), folder if folder in label_names else None)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition(" %r")[0]
        raise UserError(
            f"a picture must be a whole {', '.join(READABLE)} file. Received: {path} ({reason}); "
            "replace or leave out that file"
        ) from None


def _read_records(path: Path, label_names: Sequence[str]) -> Iterator[Picture]:
    import tensorflow as tf

    from components import features
    from components.drift.records import read_records

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
