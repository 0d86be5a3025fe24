"""Class folders of pictures that are as easy to tell apart as can be."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"ant": (40, 40, 40), "cat": (220, 40, 40), "dog": (40, 40, 220), "owl": (40, 220, 40)}


def write_colours(folder: Path, seed: int, count: int, *names: str) -> Path:
    """Writes `count` pictures of 40 x 40 pixels a class: of one colour each, with noise."""
    random = np.random.default_rng(seed)
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.normal(0, 25, (40, 40, 3)) + np.array(COLOURS[name])
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(folder / name / f"{number}.png")
    return folder
