"""Reads TFRecords that another converter wrote, without trusting them.

Files of train, test and perhaps validation (`components.dataset.layout` knows their names), of
`tf.train.Example` with ``image/encoded`` or ``image``, and ``image/class/label`` or ``label``: a
number, whose name stands in `labels.txt`, or a name. Without a label, ``image/class/text`` is the
name. So TF-Slim's and TFDS' converters write them. ``image/id`` is used where it is present; all
other features are ignored.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from inception_finetune.components.dataset.bad_examples import Policy, Skipped
from inception_finetune.components.dataset.encoded_source import (
    EncodedExample,
    EncodedSource,
    check_examples,
    files_fingerprint,
)
from inception_finetune.components.dataset.label_file import LabelNames, read_label_names
from inception_finetune.components.dataset.layout import Layout
from inception_finetune.components.dataset.shard_files import FEATURES_FILE, read_json
from inception_finetune.components.dataset.tfrecord import read_frames
from inception_finetune.components.dataset.unpickle import describe
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import IMAGE_ENCODED, IMAGE_ID, LABEL, LABELS_FILE

if TYPE_CHECKING:
    from tensorflow.core.example.feature_pb2 import Feature

    from inception_finetune.components.dataset.contained import Reader


def records_fingerprint(layout: Layout) -> str:
    """Returns a hash that changes with any file, its name, and the notes on the layout."""
    files = [_labels_file(layout.path), *(path for _, path in layout.parts)]
    return files_fingerprint(files, layout.path, repr((layout.parts, layout.notes)))


def read_records(layout: Layout, policy: Policy) -> EncodedSource:
    """Reads and checks every record, and leaves the pictures where they lie.

    Args:
      layout: the folder; its files are not compressed.
      policy: what happens to bad records.

    Raises:
      UserError: the labels are missing, a file is cut or its framing damaged, or examples are bad
        and the policy does not skip them.
    """
    names, skipped = read_label_names(_labels_file(layout.path)), Skipped(policy)

    def examples() -> Iterator[EncodedExample]:
        for one in _read_examples(layout.parts, names, Keys(), skipped):
            label = names.index_of(one.label_name)
            assert label is not None
            yield EncodedExample(one.id, one.split, label, one.path, one.offset, one.encoded)

    return check_examples(examples(), names.names, records_fingerprint(layout), skipped)


def read_copied_records(layout: Layout, skipped: Skipped) -> Reader:
    """Opens records whose pictures are copied: compressed ones, TFDS', or without `labels.txt`.

    Args:
      layout: the folder.
      skipped: receives the bad records.

    Returns:
      The pictures, and the names of the classes where a file has them.

    Raises:
      UserError: the files that describe them are damaged.
    """
    from inception_finetune.components.dataset.contained import ContainedPicture, Reader

    keys = _tfds_keys(layout.path) if layout.kind == "tfds" else Keys()
    own = f"{keys.labels[0]}.labels.txt"  # as TFDS calls it
    files = [layout.path / name for name in (own, LABELS_FILE)]
    file = next((path for path in files if path.is_file()), None)
    names = read_label_names(file) if file else None
    pictures = (
        ContainedPicture(one.id, one.split, one.label_name, one.encoded)
        for one in _read_examples(layout.parts, names, keys, skipped)
    )
    return Reader(names.names if names else (), pictures)


class Keys(NamedTuple):
    """Features that are looked for; the first one that an example has counts."""

    pictures: tuple[str, ...] = (IMAGE_ENCODED, "image")
    labels: tuple[str, ...] = (LABEL, "label")
    texts: tuple[str, ...] = ("image/class/text", "label/text")


class _Labelled(NamedTuple):
    id: str
    split: str
    label_name: str
    path: str
    offset: int  # bytes, in the unpacked file
    encoded: bytes


def _tfds_keys(folder: Path) -> Keys:
    """Returns the features that TFDS describes as picture and class.

    Raises:
      UserError: there is not one of each.
    """
    content = read_json(folder / FEATURES_FILE)
    try:
        described = content["featuresDict"]["features"]
        kinds = {name: str(one["pythonClassName"]) for name, one in described.items()}
    except (KeyError, TypeError, AttributeError):
        kinds = {}
    pictures = [name for name, kind in kinds.items() if kind.endswith(".Image")]
    labels = [name for name, kind in kinds.items() if kind.endswith(".ClassLabel")]
    if "label" in labels:
        labels = ["label"]
    if "image" in pictures:
        pictures = ["image"]
    if len(pictures) != 1 or len(labels) != 1:
        raise UserError(
            f"{folder / FEATURES_FILE} has {len(pictures)} pictures and {len(labels)} classes "
            f"among its features ({', '.join(list(kinds)[:10]) or 'none'}), not one of each. Give "
            "another data set, or a list."
        )
    return Keys((pictures[0],), (labels[0],), ())


def _labels_file(directory: Path) -> Path:
    path = directory / LABELS_FILE
    if not path.is_file():
        raise UserError(
            f"{directory} lacks {LABELS_FILE}, which names the labels of its records. Write "
            "it: 0:cat in the first line, 1:dog in the second and so on."
        )
    return path


def _read_examples(
    parts: Sequence[tuple[str, Path]], names: LabelNames | None, keys: Keys, skipped: Skipped
) -> Iterator[_Labelled]:
    for split, path in parts:
        count = 0
        for offset, record in read_frames(path):
            place = f"{path.name}:{count}"
            count += 1
            if record is None:
                skipped.reject(place, "record does not fit its checksum", str(path))
                continue
            example = _example(record)
            if isinstance(example, str):
                skipped.reject(place, example, str(path))
                continue
            identity = _bytes(example, IMAGE_ID)
            id_ = place if identity is None else identity.decode(errors="backslashreplace")
            picture = _present(example, keys.pictures)
            encoded = _bytes(example, picture)
            label = _label(example, keys, prefer_text=names is None)
            if names is None and isinstance(label, int):
                _labels_file(path.parent)  # which is missing, and is said to be
            name = names.name_of(label) if names and label is not None else label
            if encoded is None:
                value = _describe(example, picture)
                reason = f"{picture} is {value}, not the bytes of one picture"
                skipped.reject(id_, reason, str(path))
            elif not isinstance(name, str) or not name:
                key = _present(example, keys.labels)
                value = _describe(example, key)
                known = f"one whole number in {names.range}" if names else "the name of a class"
                skipped.reject(id_, f"{key} is {value}, not {known}", str(path))
            else:
                start = offset + record.index(encoded)
                yield _Labelled(id_, split, name, str(path), start, encoded)
        if not count:
            raise UserError(f"{path} is empty, and a file of records holds one or more. Remove it.")


def _present(features: Any, keys: Sequence[str]) -> str:
    return next((key for key in keys if key in features), keys[0])


def _label(features: Any, keys: Keys, *, prefer_text: bool) -> int | str | None:
    """Returns a number or a text, of the label or, where there is none or it has no name, of text.

    Args:
      features: by name.
      keys: where to look.
      prefer_text: whether numbers have no names.
    """
    key = _present(features, keys.labels)
    number, own = _whole_number(features, key), _bytes(features, key)
    text = next((one for name in keys.texts if (one := _bytes(features, name))), None)
    if own is None and (key not in features or (number is not None and prefer_text)):
        own = text
    if own is None:
        return number
    return unicodedata.normalize("NFC", own.decode(errors="backslashreplace").strip())


def _example(record: bytes) -> Any:
    """Returns the features by name, or the reason why the record is rejected."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        return tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return "it is not a serialized tf.train.Example"


def _bytes(features: Any, key: str) -> bytes | None:
    values = list(features[key].bytes_list.value) if key in features else []
    return values[0] if len(values) == 1 else None


def _whole_number(features: Any, key: str) -> int | None:
    values = list(features[key].int64_list.value) if key in features else []
    return values[0] if len(values) == 1 else None


def _describe(features: Any, key: str) -> str:
    if key not in features:
        return "missing"
    feature: Feature = features[key]
    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value) if kind else []
    return describe(values)
