"""Real digits as days of pictures, in class folders."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

_LEVELS = 16  # of scikit-learn's pixels


def write_digits(folder: Path, first: int, count: int, *, upside_down: bool = False) -> Path:
    """Writes pictures of 32 x 32 pixels, in one order for all.

    Args:
      folder: receives a folder for each class.
      first: number of the first digit, of 1,797.
      count: of digits.
      upside_down: turns each by 180 degrees.
    """
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))[first : first + count]
    for number in order:
        pixels = (digits.images[number] * (255 / _LEVELS)).astype(np.uint8)
        picture = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR)
        if upside_down:
            picture = picture.transpose(Image.Transpose.ROTATE_180)
        place = folder / f"digit {digits.target[number]}"
        place.mkdir(parents=True, exist_ok=True)
        picture.convert("RGB").save(place / f"{number}.png")
    return folder


def overrides(place: Path, *more: str) -> list[str]:
    """Returns the settings of a small network over the days in `place`."""
    return [
        *(f"root={place}/root", f"cache={place}/cache"),
        f"dataset.spans={place}/days/{{YYYY}}-{{MM}}-{{DD}}",
        *(f"dataset.golden={place}/golden", "dataset.window=4", "dataset.min_spans=2"),
        *("image.size=32", "backbone.trainable_from=Dense_3", "feature_cache=true"),
        *("training.epochs=4", "training.batch_size=16", "training.start_from=blessed"),
        *("dataset.validation_fraction=0.4", "gate.min_accuracy=0"),
        *("gate.error_rate=0.0001", "infra.server=none"),
        *more,
    ]
