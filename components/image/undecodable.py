"""Names the image that TensorFlow could not decode, as TensorFlow's own message does not."""

from collections.abc import Iterable

import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.image import decoding


def undecodable_image(serialized: Iterable[bytes]) -> UserError | None:
    """Searches for the first image that cannot be decoded.

    Args:
      serialized: serialized raw examples.

    Returns:
      An error that names the image, or None if all can be decoded.
    """
    for record in serialized:
        feature = tf.train.Example.FromString(record).features.feature
        [encoded] = feature[features.IMAGE_ENCODED].bytes_list.value
        try:
            decoding.decode(encoded)
        except tf.errors.InvalidArgumentError:
            [identity] = feature[features.IMAGE_ID].bytes_list.value
            return UserError(
                f"Image {identity.decode(errors='replace')} ({len(encoded)} bytes) is not "
                f"{decoding.RULE}. Delete the pipeline's records folder, so that they are "
                "converted again."
            )
    return None
