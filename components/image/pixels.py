"""Decoded pictures to the network's input, in whole numbers: the part of the graph that converts.

ONNX, TFLite and TensorFlow.js have neither `tf.image.central_crop` nor tensors of strings. Whole
numbers give the same result in every runtime, and quantisation to 8 bits leaves them alone. Each
result is within rounding of `transform.decode_and_scale`, whose positions are float32.
"""

from fractions import Fraction
from functools import cache
from typing import Final, NamedTuple

import numpy as np
import tensorflow as tf

LARGEST_SIDE: Final = 2**16 - 1  # pixels of a picture; positions are int32
_LARGEST_DENOMINATOR: Final = 10_000  # times LARGEST_SIDE it is an int32
_WHITE: Final = 255


class _Positions(NamedTuple):
    """What each row or column of the result is mixed of: ``[size]`` int32."""

    low: tf.Tensor  # index in the picture
    high: tf.Tensor
    share: tf.Tensor  # of `high`, in units of 1 / (2 * size)


def crop_and_scale(pixels: tf.Tensor, size: int, central_crop: float) -> tf.Tensor:
    """Takes the central crop of pictures, resizes and scales it, as Transform does.

    Args:
      pixels: ``[N, H, W, 3]`` uint8, RGB; H and W are at most `LARGEST_SIDE`.
      size: side of the result in pixels, at most 1024.
      central_crop: share of each side that is kept, in (0, 1].

    Returns:
      ``[N, size, size, 3]`` float32 in [-1, 1].
    """
    shape = tf.shape(pixels)
    rows, columns = (_positions(shape[axis], size, central_crop) for axis in (1, 2))
    unit = 2 * size

    def row_of_columns(row: tf.Tensor) -> tf.Tensor:
        # uint8 until they are few: a large picture is not copied as int32.
        row = tf.gather(pixels, row, axis=1)
        left, right = (
            tf.cast(tf.gather(row, column, axis=2), tf.int32)
            for column in (columns.low, columns.high)
        )
        return _mixed(left, right, columns.share[:, tf.newaxis], unit)

    above, below = row_of_columns(rows.low), row_of_columns(rows.high)
    total = _mixed(above, below, rows.share[:, tf.newaxis, tf.newaxis], unit)
    # The sum is always white's. As a constant it would be rounded to float16 with the weights.
    white = _WHITE * unit**2 + tf.minimum(shape[1] - 1, 0)
    return tf.cast(2 * total - white, tf.float32) / tf.cast(white, tf.float32)


def _mixed(low: tf.Tensor, high: tf.Tensor, share: tf.Tensor, unit: int) -> tf.Tensor:
    return low * (unit - share) + high * share


def _positions(side: tf.Tensor, size: int, central_crop: float) -> _Positions:
    """Half-pixel centres, as `tf.image.resize` has them: (index + 1/2) * kept / size - 1/2."""
    margin = _margin(side, central_crop)
    kept = side - 2 * margin
    unit = 2 * size
    odd = 2 * np.arange(size, dtype=np.int32) + 1
    # In units of 1 / (2 * size), and one pixel further: runtimes divide what is negative as they
    # like.
    further = odd * kept + (unit - size)
    index = further // unit
    return _Positions(
        low=margin + tf.maximum(index - 1, 0),
        high=margin + tf.minimum(index, kept - 1),
        share=further - index * unit,
    )


def _margin(side: tf.Tensor, central_crop: float) -> tf.Tensor:
    """Pixels that are left out at each end of a side, as `tf.image.central_crop` counts them."""
    cut = _cut(central_crop)
    if cut is None:  # TFLite cannot convert these
        exact = tf.cast(side, tf.float64)
        return tf.cast((exact - exact * central_crop) / 2, tf.int32)
    return side * cut.numerator // (2 * cut.denominator)


@cache
def _cut(central_crop: float) -> Fraction | None:
    """The share that is left out, if whole numbers count the same pixels for every side."""
    cut = 1 - Fraction(central_crop).limit_denominator(_LARGEST_DENOMINATOR)
    sides = np.arange(1, LARGEST_SIDE + 1)
    theirs = ((sides - sides * central_crop) / 2).astype(np.int64)
    same = np.array_equal(sides * cut.numerator // (2 * cut.denominator), theirs)
    return cut if same else None
