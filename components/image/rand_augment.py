"""RandAugment, https://arxiv.org/abs/1909.13719: some of 14 operations, all of one magnitude.

Magnitudes run from 0 to 10, and mean what they do in the paper's own source, AutoAugment's table
(https://arxiv.org/abs/1805.09501, appendix A).
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import tensorflow as tf

    _Operation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

MOST_OPERATIONS: Final = 4
_EACH: Final = 2  # numbers: which operation, and the sign of its magnitude
DRAWS: Final = _EACH * MOST_OPERATIONS
HIGHEST: Final = 10.0  # magnitude

_ROTATION: Final = math.radians(30)
_SHEAR: Final = 0.3
_TRANSLATION: Final = 0.33  # of the side
_ENHANCEMENT: Final = 0.9  # change of colour, contrast, brightness and sharpness
_BITS: Final = (8, 4)  # of posterize, from magnitude 0 to the highest
_LEVELS: Final = 256


def apply(
    images: "tf.Tensor", draws: "tf.Tensor", operations: int, magnitude: float
) -> "tf.Tensor":
    """Applies operations to each image.

    Args:
      images: ``[B, S, S, 3]`` float32 in [-1, 1].
      draws: ``[B, DRAWS]`` float32, uniform in [0, 1).
      operations: how many, at most `MOST_OPERATIONS`.
      magnitude: from 0 to `HIGHEST`.

    Returns:
      ``[B, S, S, 3]`` float32 in [-1, 1].
    """
    import tensorflow as tf

    strength = magnitude / HIGHEST

    def one(image_and_draws: "tuple[tf.Tensor, tf.Tensor]") -> "tf.Tensor":
        image, numbers = image_and_draws
        for number in range(operations):
            which, sign = tf.unstack(numbers[_EACH * number : _EACH * (number + 1)])
            signed = tf.where(sign < 0.5, -strength, strength)
            index = tf.cast(which * len(OPERATIONS), tf.int32)
            branches = [_bound(operation, image, signed) for operation in OPERATIONS.values()]
            image = tf.ensure_shape(tf.switch_case(index, branches), image.shape)
            image = tf.clip_by_value(image, 0.0, 1.0)
        return image

    shown = tf.map_fn(one, ((images + 1) / 2, draws), fn_output_signature=images.dtype)
    return tf.ensure_shape(2 * shown - 1, images.shape)


def _bound(
    operation: "_Operation", image: "tf.Tensor", signed: "tf.Tensor"
) -> "Callable[[], tf.Tensor]":
    return lambda: operation(image, signed)


def _geometric(
    matrix: "Callable[[tf.Tensor], list[tf.Tensor | float]]",
) -> "_Operation":
    """Makes an operation of the six numbers ``a, b, c, d, e, f``, centred on the image.

    The output at (x, y) shows the input at (a x + b y + c, d x + e y + f); lengths are in sides of
    the image. What is seen outside it is grey.
    """

    def operation(image: "tf.Tensor", signed: "tf.Tensor") -> "tf.Tensor":
        import tensorflow as tf

        height, width = image.shape[:2]
        a, b, c, d, e, f = (tf.convert_to_tensor(one, tf.float32) for one in matrix(signed))
        x, y = (width - 1) / 2, (height - 1) / 2
        row = [a, b, c * width + x - a * x - b * y, d, e, f * height + y - d * x - e * y, 0.0, 0.0]
        [moved] = tf.raw_ops.ImageProjectiveTransformV3(
            images=image[None],
            transforms=tf.stack(row)[None],
            output_shape=[height, width],
            fill_value=0.5,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )
        return moved

    return operation


def _enhanced(degenerate: "Callable[[tf.Tensor], tf.Tensor]") -> "_Operation":
    """Makes an operation that moves an image away from, or towards, a poorer form of itself."""

    def operation(image: "tf.Tensor", signed: "tf.Tensor") -> "tf.Tensor":
        poorer = degenerate(image)
        return poorer + (1 + _ENHANCEMENT * signed) * (image - poorer)

    return operation


def _grey(image: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    return tf.image.rgb_to_grayscale(image)


def _mean_grey(image: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    return tf.reduce_mean(_grey(image))


def _smooth(image: "tf.Tensor") -> "tf.Tensor":
    """Smooths as Pillow's SMOOTH does; the outermost pixels stay."""
    import tensorflow as tf

    kernel = tf.constant([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]])[:, :, None, None] / 13
    inner = tf.nn.depthwise_conv2d(image[None], tf.tile(kernel, [1, 1, 3, 1]), [1] * 4, "VALID")[0]
    is_inner = tf.pad(tf.ones_like(inner, tf.bool), [[1, 1], [1, 1], [0, 0]])
    return tf.where(is_inner, tf.pad(inner, [[1, 1], [1, 1], [0, 0]]), image)


def _auto_contrast(image: "tf.Tensor", signed: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    low, high = (reduce(image, axis=[0, 1]) for reduce in (tf.reduce_min, tf.reduce_max))
    return tf.where(high > low, (image - low) / tf.maximum(high - low, 1 / _LEVELS), image)


def _equalize(image: "tf.Tensor", signed: "tf.Tensor") -> "tf.Tensor":
    """Maps each channel so that its levels are about equally frequent."""
    import tensorflow as tf

    levels = tf.cast(tf.round(image * (_LEVELS - 1)), tf.int32)
    channels = []
    for level in tf.unstack(levels, axis=2):
        counts = tf.math.bincount(tf.reshape(level, [-1]), minlength=_LEVELS, dtype=tf.float32)
        below = tf.cumsum(counts, exclusive=True)
        # The lowest level that occurs becomes 0, the highest 1.
        last = tf.reduce_max(tf.where(counts > 0, below, 0.0))
        first = tf.reduce_min(tf.where(counts > 0, below, last))
        table = tf.math.divide_no_nan(below - first, last - first)
        channels.append(
            tf.where(
                last > first, tf.gather(table, level), tf.cast(level, tf.float32) / (_LEVELS - 1)
            )
        )
    return tf.stack(channels, axis=2)


def _posterize(image: "tf.Tensor", signed: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    most, least = _BITS
    bits = tf.round(most + (least - most) * tf.abs(signed))
    step = 2.0 ** (most - bits)
    return tf.floor(tf.round(image * (_LEVELS - 1)) / step) * step / (_LEVELS - 1)


def _solarize(image: "tf.Tensor", signed: "tf.Tensor") -> "tf.Tensor":
    """Inverts what is brighter than a threshold."""
    import tensorflow as tf

    return tf.where(image > 1 - tf.abs(signed), 1 - image, image)


def _rotation(signed: "tf.Tensor") -> "list[tf.Tensor | float]":
    import tensorflow as tf

    cosine, sine = tf.cos(_ROTATION * signed), tf.sin(_ROTATION * signed)
    return [cosine, -sine, 0.0, sine, cosine, 0.0]


OPERATIONS: "Final[Mapping[str, _Operation]]" = {
    "identity": lambda image, signed: image,
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "rotate": _geometric(_rotation),
    "solarize": _solarize,
    "colour": _enhanced(_grey),
    "posterize": _posterize,
    "contrast": _enhanced(_mean_grey),
    "brightness": _enhanced(lambda image: 0 * image),
    "sharpness": _enhanced(_smooth),
    "shear_x": _geometric(lambda signed: [1.0, _SHEAR * signed, 0.0, 0.0, 1.0, 0.0]),
    "shear_y": _geometric(lambda signed: [1.0, 0.0, 0.0, _SHEAR * signed, 1.0, 0.0]),
    "translate_x": _geometric(lambda signed: [1.0, 0.0, _TRANSLATION * signed, 0.0, 1.0, 0.0]),
    "translate_y": _geometric(lambda signed: [1.0, 0.0, 0.0, 0.0, 1.0, _TRANSLATION * signed]),
}
