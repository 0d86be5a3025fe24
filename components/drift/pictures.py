"""Statistics of an image that need no model: size, brightness, contrast, colours."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.components.image import decoding
from inception_finetune.components.progress import Advance

# https://www.itu.int/rec/R-REC-BT.601: how bright red, green and blue are to the eye.
_LUMA: Final = np.array([0.299, 0.587, 0.114])
STATISTICS: Final = (
    "width",
    "height",
    "brightness",
    "contrast",
    "red mean",
    "green mean",
    "blue mean",
    "red deviation",
    "green deviation",
    "blue deviation",
)


class Measured(NamedTuple):
    """Statistics of readable images, and which images are readable."""

    statistics: npt.NDArray[np.float64]  # [N, len(STATISTICS)], of the pictures that can be read
    readable: npt.NDArray[np.bool_]  # [all], which ones these are


def measure(encoded: Sequence[bytes], advance: Advance) -> Measured:
    """Computes the statistics of encoded images.

    Sizes are in pixels, all others in levels of 0 to 255; contrast is the deviation of brightness.

    Args:
      encoded: PNG or JPEG bytes.
      advance: is called after each image.
    """
    rows, readable = [], []
    for one in encoded:
        advance(1)
        try:
            image = decoding.decode(tf.constant(one)).numpy()
        except tf.errors.OpError:
            readable.append(False)
            continue
        readable.append(True)
        rows.append(_measure(image))
    statistics = np.array(rows).reshape(-1, len(STATISTICS))
    return Measured(statistics, np.array(readable, bool))


def _measure(image: npt.NDArray[np.uint8]) -> list[float]:
    height, width, _ = image.shape
    brightness = image @ _LUMA
    means, deviations = image.mean(axis=(0, 1)), image.std(axis=(0, 1))
    return [width, height, brightness.mean(), brightness.std(), *means, *deviations]
