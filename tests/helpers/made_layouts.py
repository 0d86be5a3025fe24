"""Twelve train and six test pictures of three classes, in any layout, and how they are read."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from inception_finetune.components import features
from inception_finetune.components.dataset.convert import Manifest
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.data_set import convert_dataset

CLASSES = ("ant", "bee", "cow")


class Made(NamedTuple):
    """A picture to be written in some layout."""

    split: str
    number: int  # within its split
    label: int
    pixels: np.ndarray  # [6, 7, 3] uint8

    @property
    def png(self) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, "PNG")
        return buffer.getvalue()


def made(*splits: str) -> Iterator[Made]:
    """Pictures of noise, all different; without splits named, of train and test."""
    for split in splits or ("train", "test"):
        count = {"train": 12, "validation": 6, "test": 6}[split]
        for number in range(count):
            seed = [number, "train validation test".index(split)]
            pixels = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
            yield Made(split, number, number % len(CLASSES), pixels)


def expected(*splits: str) -> set[tuple[str, str, bytes]]:
    """Split, class and pixels of each picture."""
    return {(one.split, CLASSES[one.label], one.pixels.tobytes()) for one in made(*splits)}


def converted(source: Path, *overrides: str) -> Manifest:
    """The manifest of a conversion to ``out`` beside `source`."""
    arguments = [
        f"dataset.archive={source}",
        f"cache={source.parent / 'cache'}",
        "dataset.validation_fraction=0.25",
        "dataset.test_fraction=0.25",
        *overrides,
    ]
    return convert_dataset(load_config("digits", arguments), source.parent / "out")


def read_out(source: Path, as_made: bool = True) -> set[tuple[str, str, bytes]]:
    """Split, class and decoded pixels of each picture that `converted` wrote.

    Where `as_made` holds, validation counts as train: that is where it was held out from.
    """
    import tensorflow as tf

    out = source.parent / "out"
    names = [line.partition(":")[2] for line in (out / "labels.txt").read_text().splitlines()]
    found = set()
    for path in sorted(out.glob("*.tfrecord")):
        split = path.name.split("-")[0]
        for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            feature = tf.train.Example.FromString(serialized).features.feature
            [encoded] = feature[features.IMAGE_ENCODED].bytes_list.value
            [label] = feature[features.LABEL].int64_list.value
            pixels = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
            is_train = as_made and split == "validation"
            found.add(("train" if is_train else split, names[label], pixels.tobytes()))
    return found


def without_splits(rows: set[tuple[str, str, bytes]]) -> set[tuple[str, bytes]]:
    return {(label, pixels) for _, label, pixels in rows}
