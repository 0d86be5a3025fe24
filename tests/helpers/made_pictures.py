"""Small pictures in folders and in TFRecords, for the data set's tests."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inception_finetune.components import features
from inception_finetune.components.dataset.tfrecord import frame

NAMES = ("cat", "dog")


def encoded(seed: int, kind: str = "PNG", side: int = 8) -> bytes:
    """A picture of noise, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def record(**values: Any) -> bytes:
    """A serialized example; a value is bytes, int, float, or a list of them; None leaves it out."""
    import tensorflow as tf

    example = tf.train.Example()
    for name, value in values.items():
        if value is None:
            continue
        many = value if isinstance(value, list) else [value]
        feature = example.features.feature[getattr(features, name)]
        kinds = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
        kind = kinds[type(many[0])] if many else "bytes_list"
        getattr(feature, kind).value.extend(many)
    return bytes(example.SerializeToString())


def good_records(split: str, count: int, first_seed: int) -> list[bytes]:
    """Of both classes in turn; every third picture is a JPEG."""
    return [
        record(
            IMAGE_ENCODED=encoded(first_seed + i, "JPEG" if i % 3 == 2 else "PNG"),
            LABEL=i % len(NAMES),
            IMAGE_ID=f"{split}-{i}".encode(),
        )
        for i in range(count)
    ]


def write_records(directory: Path, shards: Mapping[str, Iterable[bytes]]) -> Path:
    """Shards by file name, each a series of records."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, records in shards.items():
        (directory / name).write_bytes(b"".join(map(frame, records)))
    lines = (f"{number}:{name}\n" for number, name in enumerate(NAMES))
    (directory / features.LABELS_FILE).write_text("".join(lines))
    return directory


def good_shards() -> dict[str, list[bytes]]:
    return {
        "train-00000-of-00001.tfrecord": good_records("train", 20, 0),
        "test-00000-of-00001.tfrecord": good_records("test", 6, 1000),
    }


def write_folder(directory: Path) -> Path:
    """``train`` and ``test`` with ten and three pictures of each class."""
    for split, count, first_seed in (("train", 10, 0), ("test", 3, 1000)):
        for label, name in enumerate(NAMES):
            (directory / split / name).mkdir(parents=True)
            for i in range(count):
                path = directory / split / name / f"{i}.png"
                path.write_bytes(encoded(first_seed + 100 * label + i))
    return directory
