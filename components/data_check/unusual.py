"""Images that stand out: blank, dark, bright, blurred, small, or unlike all others."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from inception_finetune.components.data_check.measured import Measured
from inception_finetune.components.data_check.neighbours import Neighbours

BLANK: Final = "blank"
KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        BLANK: "hardly any contrast",
        "dark": "very dark",
        "bright": "very bright",
        "blurred": "blurred, or a gradient",
        "small": "much smaller than the others, and than the network's input",
        "unlike all others": "its nearest neighbours are far away",
    }
)
_FLAT: Final = 3.0  # levels of 255, of contrast
_DARK, _BRIGHT = 12.0, 243.0  # levels of 255, of brightness
# Robust deviations from the median (1.4826 times the median absolute deviation).
_BLURRED: Final = 4.0  # of the logarithm of sharpness
_FAR: Final = 4.0  # of the logarithm of the mean distance to the neighbours
_SMALL: Final = 0.5  # share of the median side


class Unusual(NamedTuple):
    """An image that stands out."""

    image: int  # index
    kind: str  # of `KINDS`
    value: float  # what it was judged by


def unusual_images(measured: Measured, neighbours: Neighbours, image_size: int) -> list[Unusual]:
    """Finds images that stand out, by kind; the most striking first.

    Args:
      measured: all images.
      neighbours: of the images.
      image_size: side of the network's input in pixels.
    """
    blank = measured.contrast < _FLAT
    sides = np.minimum(measured.heights, measured.widths)
    sharpness = np.log(np.maximum(measured.sharpness, 1e-9))
    distance = np.zeros(len(sides))
    if neighbours.distances.size:
        distance = np.log(np.maximum(neighbours.distances.mean(axis=1), 1e-9))
    small = (sides < _SMALL * np.median(sides)) & (sides < image_size)
    return [
        *_flagged(BLANK, blank, measured.contrast),
        *_flagged("dark", ~blank & (measured.brightness < _DARK), measured.brightness),
        *_flagged("bright", ~blank & (measured.brightness > _BRIGHT), -measured.brightness),
        *_flagged("blurred", ~blank & (_deviations(sharpness) < -_BLURRED), measured.sharpness),
        *_flagged("small", small, sides),
        *_flagged("unlike all others", ~blank & (_deviations(distance) > _FAR), -distance),
    ]


def _flagged(kind: str, flags: npt.NDArray[np.bool_], order: npt.NDArray) -> list[Unusual]:
    indices = np.flatnonzero(flags)
    indices = indices[np.argsort(order[indices], kind="stable")]
    return [Unusual(int(index), kind, abs(float(order[index]))) for index in indices]


def _deviations(values: npt.NDArray) -> npt.NDArray:
    """Returns ``[N]``, how many robust deviations each value lies above the median."""
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))
    return (values - middle) / (spread if spread > 0 else np.inf)
