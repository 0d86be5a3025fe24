"""From the artifacts' files to batches of images, through the very graph that serves."""

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_transform as tft

from components import features
from components.errors import UserError

COMPRESSION = "GZIP"  # of the Examples artifacts that TFX writes


def count_examples(files: Sequence[str]) -> int:
    """Number of records below the file patterns; reads them once."""
    records = tf.data.TFRecordDataset(_expand(files), COMPRESSION)
    return int(records.reduce(tf.constant(0, tf.int64), lambda count, _: count + 1))


def read_batches(
    files: Sequence[str],
    transform: tft.TFTransformOutput,
    *,
    batch_size: int,
    training: bool,
    shuffle_buffer: int,
    seed: int,
    flip_left_right: bool = False,
) -> tf.data.Dataset:
    """Batches of ``([B, S, S, 3] float32 in [-1, 1], [B] int64)``.

    For training the examples are shuffled anew in every epoch (reproducibly, by `seed`), repeated
    for ever, and batches are full; otherwise they come once, in order, the last one shorter.
    """
    records = tf.data.TFRecordDataset(_expand(files), COMPRESSION)
    if training:
        records = records.shuffle(shuffle_buffer, seed=seed).repeat()
    to_images = _image_parser(transform)
    batches = records.batch(batch_size, drop_remainder=training)
    batches = batches.map(to_images, num_parallel_calls=tf.data.AUTOTUNE)
    if training and flip_left_right:
        batches = batches.enumerate().map(
            lambda step, batch: (_flip(batch[0], seed, step), batch[1]),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    return batches.prefetch(tf.data.AUTOTUNE)


def _image_parser(transform: tft.TFTransformOutput):
    layer = transform.transform_features_layer()
    specification = transform.raw_feature_spec()
    needed = {key: specification[key] for key in (features.IMAGE_ENCODED, features.LABEL)}

    def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        transformed = layer(tf.io.parse_example(serialized, needed))
        return transformed[features.IMAGE], transformed[features.TARGET]

    return parse


def _flip(images: tf.Tensor, seed: int, step: tf.Tensor) -> tf.Tensor:
    """Mirrors each image with probability 1/2, decided by `seed` and `step` alone."""
    chance = tf.random.stateless_uniform(tf.shape(images)[:1], [tf.cast(seed, tf.int64), step])
    return tf.where(chance[:, None, None, None] < 0.5, tf.reverse(images, axis=[2]), images)


def _expand(patterns: Sequence[str]) -> list[str]:
    files = sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))
    if not files:
        raise UserError(f"the Trainer needs example files. None match: {', '.join(patterns)}")
    return files
