"""Images to TFRecords: the converter against a plain loop over TensorFlow's encoder."""

import itertools
import tempfile
from pathlib import Path
from typing import Final

import tensorflow as tf

from benchmarks.pairs import Timings, take_turns
from inception_finetune.components import features
from inception_finetune.components.dataset.archive import Archive
from inception_finetune.components.dataset.convert import convert

CONVERT: Final = "data convert"
LOOP: Final = "plain loop of tf.io.encode_png"


def measure(archive: Archive, rounds: int) -> Timings:
    """Converts the whole archive in turns."""
    images = sum(len(batch.labels) for batch in archive.batches)
    with tempfile.TemporaryDirectory() as directory:
        number = itertools.count()

        def target() -> Path:
            return Path(directory) / str(next(number))

        contestants = {
            CONVERT: lambda: convert(archive, target(), validation_fraction=0.1, seed=0),
            LOOP: lambda: _plain_loop(archive, str(target())),
        }
        return take_turns(contestants, dict.fromkeys(contestants, images), rounds, "conversion")


def _plain_loop(archive: Archive, path: str) -> None:
    """What people write by hand: one image after another."""
    with tf.io.TFRecordWriter(path) as writer:
        for batch in archive.batches:
            for index, (image, label) in enumerate(zip(batch.images, batch.labels, strict=True)):
                height, width, _ = image.shape
                values = {
                    features.IMAGE_ENCODED: tf.io.encode_png(image).numpy(),
                    features.IMAGE_FORMAT: b"png",
                    features.IMAGE_HEIGHT: height,
                    features.IMAGE_WIDTH: width,
                    features.IMAGE_ID: f"{batch.name}:{index}".encode(),
                    features.LABEL: int(label),
                }
                feature = {key: _feature(value) for key, value in values.items()}
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())


def _feature(value: bytes | int) -> tf.train.Feature:
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
