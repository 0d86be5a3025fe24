"""Transform's user code: encoded bytes become Inception's input, in a graph that also serves.

Referred to by dotted path. The graph is replayed at training and at serving time, so there is
one definition of what a picture is to the network.
"""

from typing import Any

import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.components.image import decoding


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]
) -> dict[str, tf.Tensor]:
    """Decodes, crops, resizes and scales each image.

    Args:
      inputs: ``image/encoded`` ``[B]`` bytes and ``image/class/label`` ``[B]`` int64.
      custom_config: ``size`` in pixels and ``central_crop`` in (0, 1].

    Returns:
      ``image`` ``[B, size, size, 3]`` float32 in [-1, 1] and ``label`` ``[B]`` int64.
    """
    size, central_crop = custom_config["size"], custom_config["central_crop"]
    # By image, not by batch: pictures may differ in size.
    image = tf.map_fn(
        lambda encoded: decode_and_scale(encoded, size, central_crop),
        inputs[features.IMAGE_ENCODED],
        fn_output_signature=tf.TensorSpec([size, size, features.CHANNELS], tf.float32),
    )
    return {features.IMAGE: image, features.TRANSFORMED_LABEL: tf.identity(inputs[features.LABEL])}


def decode_and_scale(encoded: tf.Tensor, size: int, central_crop: float) -> tf.Tensor:
    """Encoded PNG or JPEG bytes (scalar) to ``[size, size, 3]`` float32 in [-1, 1].

    The crop is central; the resizing is bilinear without antialiasing, as the checkpoint was
    trained with.
    """
    image = tf.image.central_crop(decoding.decode(encoded), central_crop)
    image = tf.image.resize(image, [size, size])  # float32, whatever it is given
    # Inception scaling; bilinear weights that sum to 1 + 1e-7 must not leave the range.
    return tf.clip_by_value(image / 127.5 - 1.0, -1.0, 1.0)
