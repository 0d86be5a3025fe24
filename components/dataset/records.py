"""Reads TFRecords that another converter wrote, without trusting them.

A folder with `labels.txt` (``0:cat``, ``1:dog``, …) and files of train, test and perhaps validation
(`components.dataset.layout` knows their names), of `tf.train.Example` with ``image/encoded`` (PNG
or JPEG) and ``image/class/label``, as TF-Slim's converters write them. ``image/id`` is used where
it is present; all other features are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inception_finetune.components.dataset.bad_examples import Policy, Skipped
from inception_finetune.components.dataset.encoded_source import (
    EncodedExample,
    EncodedSource,
    check_examples,
    files_fingerprint,
)
from inception_finetune.components.dataset.layout import Layout
from inception_finetune.components.dataset.tfrecord import read_frames
from inception_finetune.components.dataset.unpickle import describe
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import IMAGE_ENCODED, IMAGE_ID, LABEL, LABELS_FILE

if TYPE_CHECKING:
    from tensorflow.core.example.feature_pb2 import Feature


def records_fingerprint(layout: Layout) -> str:
    """Returns a hash that changes with any file, its name, and the notes on the layout."""
    files = [_labels_file(layout.path), *(path for _, path in layout.parts)]
    return files_fingerprint(files, layout.path, repr((layout.parts, layout.notes)))


def read_records(layout: Layout, policy: Policy) -> EncodedSource:
    """Reads and checks every record.

    Args:
      layout: the folder.
      policy: what happens to bad records.

    Raises:
      UserError: the labels are missing, a file is cut or its framing damaged, or examples are bad
        and the policy does not skip them.
    """
    label_names, skipped = _label_names(_labels_file(layout.path)), Skipped(policy)
    examples = _read_examples(layout.parts, len(label_names), skipped)
    return check_examples(examples, label_names, records_fingerprint(layout), skipped)


def _labels_file(directory: Path) -> Path:
    path = directory / LABELS_FILE
    if not path.is_file():
        raise UserError(
            f"{directory} lacks {LABELS_FILE}, which names the labels of its records. Write "
            "it: 0:cat in the first line, 1:dog in the second and so on."
        )
    return path


def _label_names(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}. Write it again.") from None
    names = tuple(
        line.removeprefix(f"{number}:").strip()
        for number, line in enumerate(lines)
        if line.startswith(f"{number}:")
    )
    distinct = len(set(names)) == len(names)
    printable = all(name and name.isprintable() for name in names)
    if len(names) < max(2, len(lines)) or not distinct or not printable:
        raise UserError(
            f"{path} reads {describe(lines)}, not one distinct printable name a line, 0:cat, "
            "1:dog and so on, two or more. Correct it."
        )
    return names


def _read_examples(
    parts: Sequence[tuple[str, Path]], classes: int, skipped: Skipped
) -> Iterator[EncodedExample]:
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
            encoded, label = _bytes(example, IMAGE_ENCODED), _whole_number(example, LABEL)
            if encoded is None:
                value = _describe(example, IMAGE_ENCODED)
                reason = f"{IMAGE_ENCODED} is {value}, not the bytes of one picture"
                skipped.reject(id_, reason, str(path))
            elif label is None or not 0 <= label < classes:
                value = _describe(example, LABEL)
                reason = f"{LABEL} is {value}, not one whole number in [0, {classes})"
                skipped.reject(id_, reason, str(path))
            else:
                start = offset + record.index(encoded)
                yield EncodedExample(id_, split, label, str(path), start, encoded)
        if not count:
            raise UserError(f"{path} is empty, and a file of records holds one or more. Remove it.")


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
