"""Finds the picture that TensorFlow could not decode: its own message does not name it."""

from collections.abc import Iterable

import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.image import decoding


def undecodable_image(serialized: Iterable[bytes]) -> UserError | None:
    """What to tell the user of the first image that cannot be decoded; None if all can be."""
    for record in serialized:
        feature = tf.train.Example.FromString(record).features.feature
        [encoded] = feature[features.IMAGE_ENCODED].bytes_list.value
        try:
            decoding.decode(encoded)
        except tf.errors.InvalidArgumentError:
            [identity] = feature[features.IMAGE_ID].bytes_list.value
            return UserError(
                f"every image must be {decoding.RULE}. Received: another, "
                f"{identity.decode(errors='replace')} ({len(encoded)} bytes); "
                "delete the pipeline's records folder, so that they are converted again"
            )
    return None
