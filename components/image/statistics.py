"""Statistics of a picture's pixels that tell dark, flat, blurred and small pictures from others."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

_SHARPNESS_SIDE: Final = 128  # pixels, of the longer side that sharpness is measured at
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class PictureStatistics(NamedTuple):
    """Of one picture."""

    height: int  # pixels
    width: int  # pixels
    brightness: float  # mean, 0 to 255
    contrast: float  # standard deviation of brightness
    sharpness: float  # variance of the Laplacian over that of brightness

    @classmethod
    def of(cls, grey: npt.NDArray[np.uint8]) -> "PictureStatistics":
        """Measures a picture's brightness, ``[H, W]`` in [0, 255]."""
        height, width = grey.shape
        picture = PillowImage.fromarray(grey)
        picture.thumbnail((_SHARPNESS_SIDE, _SHARPNESS_SIDE))
        values = np.asarray(picture, np.float32)
        sharpness = 0.0
        if min(values.shape) > 2 and (variance := float(values.var())) > 0:
            centre = values[1:-1, 1:-1]
            around = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
            sharpness = float((around - 4 * centre).var()) / variance
        return cls(height, width, float(grey.mean()), float(grey.std()), sharpness)


def brightness_of(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Returns the brightness of each pixel, ``[H, W]``, of ``[H, W, 3]`` RGB."""
    return (pixels @ _LUMA).astype(np.uint8)
