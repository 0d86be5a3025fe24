"""Robustness as one HTML page that loads nothing from anywhere."""

from typing import Final

import numpy as np
import numpy.typing as npt

from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.image.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from inception_finetune.components.robustness.measure import LabelledPicture, Robustness
from inception_finetune.components.web_page.data_address import data_address, is_lossless
from inception_finetune.components.web_page.environment import templates

_SIDE: Final = 96  # pixels of the sample of each corruption


def render(found: Robustness, sample: LabelledPicture, label_name: str) -> str:
    """Renders the page.

    Args:
      found: the accuracies.
      sample: a test picture, which is shown as each corruption leaves it.
      label_name: of its class.
    """

    def address(pixels: npt.NDArray[np.uint8]) -> str:
        return data_address(encode_png(pixels), _SIDE)

    samples = {
        f"{name} {strength}": address(
            corrupt(sample.pixels, name, strength, seed=found.seed, identity=sample.identity)
        )
        for name in CORRUPTIONS
        for strength in STRENGTHS
    }
    clean = address(sample.pixels)
    return (
        templates(__package__)
        .get_template("robustness.html")
        .render(
            found=found,
            corruptions=CORRUPTIONS,
            strengths=STRENGTHS,
            samples=samples,
            clean=clean,
            small=is_lossless(clean),
            label_name=label_name,
            identity=sample.identity,
        )
    )
