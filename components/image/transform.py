"""Transform's user code: encoded bytes become Inception's input, in a graph that is also served.

TFX refers to it by its dotted path. The graph is replayed in training and in serving, so that both
preprocess images in the same way.
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
    """Decodes an image, takes its central crop, resizes and scales it.

    The resizing is bilinear without antialiasing, as for the pretrained checkpoints.

    Args:
      encoded: scalar string, PNG or JPEG bytes.
      size: side of the result in pixels.
      central_crop: share of each side that is kept, in (0, 1].

    Returns:
      ``[size, size, 3]`` float32 in [-1, 1].
    """
    image = tf.image.central_crop(decoding.decode(encoded), central_crop)
    image = tf.image.resize(image, [size, size])  # float32, whatever it is given
    # Inception scaling; bilinear weights that sum to 1 + 1e-7 must not leave the range.
    return tf.clip_by_value(image / 127.5 - 1.0, -1.0, 1.0)
