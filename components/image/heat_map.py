"""Maps of where a model looks, drawn over pictures."""

import base64
import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

_OPACITY: Final = 0.8  # where the map is 1; where it is 0 the picture is as it was
_COLOURS: Final = "inferno"  # matplotlib's; grows lighter evenly, also without colours


def overlay(values: npt.NDArray[np.float32]) -> Image.Image:
    """Colours a map: a pixel of the picture, in RGBA, for each value.

    Args:
      values: ``[h, w]`` in [0, 1].
    """
    from matplotlib import colormaps

    # The darkest colours, on pictures, are no colours.
    colours = colormaps[_COLOURS](0.25 + 0.7 * values)
    colours[..., 3] = _OPACITY * values
    return Image.fromarray(np.round(255 * colours).astype(np.uint8))


def overlay_address(values: npt.NDArray[np.float32]) -> str:
    """The coloured map ``[h, w]`` as a `data:` address, to be stretched over a picture."""
    buffer = io.BytesIO()
    overlay(values).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def draw_over(
    picture: Image.Image, values: npt.NDArray[np.float32], box: npt.NDArray[np.float32]
) -> Image.Image:
    """Draws a map over the part of a picture that it covers; the picture turns grey.

    Args:
      picture: of any size.
      values: ``[h, w]`` in [0, 1].
      box: ``[4]``, that part: top, left, bottom, right in shares of the sides.

    Returns:
      A new picture of the same size, in RGB.
    """
    sides = np.array([picture.height, picture.width] * 2)
    top, left, bottom, right = np.round(box * sides).astype(int).tolist()
    size = max(right - left, 1), max(bottom - top, 1)
    drawn = picture.convert("L").convert("RGBA")
    drawn.alpha_composite(overlay(values).resize(size, Image.Resampling.BILINEAR), (left, top))
    return drawn.convert("RGB")
