"""Draws a data set: random images of each class, and below them chosen samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from inception_finetune.components.dataset.show import (
    CLASSES_SHOWN,
    describe_samples,
    example_index,
)
from inception_finetune.components.dataset.source import BrowsableSource
from inception_finetune.components.features import TRAIN
from inception_finetune.components.figure import plain_figure
from inception_finetune.components.io.whole_file import whole_file
from inception_finetune.components.shown_text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

IMAGES_PER_CLASS: Final = 10
_SAMPLES_PER_ROW: Final = 5
_WIDTH: Final = 9.0  # inches
_CLASS_HEIGHT: Final = 0.75  # inches
_SAMPLE_HEIGHT: Final = 2.1  # inches
_TITLE_HEIGHT: Final = 0.5  # inches, of each of the two parts
_DOTS_PER_INCH: Final = 150
_LARGEST_SIDE: Final = 96  # pixels, of a random image
_GREY: Final = "#555555"


def draw_grid(
    source: BrowsableSource, target: Path, *, samples: Sequence[tuple[str, int]], seed: int
) -> Path:
    """Draws 10 random train images of each class and the chosen samples as a PNG.

    Args:
      source: the examples.
      target: path of the PNG.
      samples: (batch name, index) of each sample.
      seed: chooses the random images.

    Returns:
      `target`.

    Raises:
      UserError: there is no such batch or index, or `target` cannot be written.
    """
    describe_samples(source, samples)  # refuses what does not exist before anything is drawn
    sample_rows = math.ceil(len(samples) / _SAMPLES_PER_ROW)
    heights = [min(len(source.label_names), CLASSES_SHOWN) * _CLASS_HEIGHT + _TITLE_HEIGHT]
    if samples:
        heights.append(sample_rows * _SAMPLE_HEIGHT + _TITLE_HEIGHT)
    size = (_WIDTH, sum(heights))
    with plain_figure(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained") as figure:
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        _draw_classes(source, parts[0], seed)
        if samples:
            _draw_samples(source, parts[1], samples, sample_rows)
        save_figure(figure, target)
    return target


def _draw_classes(source: BrowsableSource, part: SubFigure, seed: int) -> None:
    names = source.label_names[:CLASSES_SHOWN]
    rows = [
        _random_images(source, label, np.random.default_rng([seed, label]))
        for label in range(len(names))
    ]
    side = max((max(image.shape[:2]) for images in rows for image in images), default=1)
    gap = max(1, side // 16)
    step = side + gap
    mosaic = np.full((len(rows) * step - gap, IMAGES_PER_CLASS * step - gap, 3), 255, np.uint8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            height, width, _ = image.shape
            top, left = row * step, column * step
            mosaic[top : top + height, left : left + width] = image
    axes = part.subplots()
    show_image(axes, mosaic)
    axes.set_yticks(
        [row * step + side / 2 for row in range(len(rows))],
        [f"{visible(name)}  {label}" for label, name in enumerate(names)],
    )
    axes.tick_params(length=0, pad=8, labelsize=11)
    of_all = f", of {len(names)} classes" if len(names) < len(source.label_names) else ""
    _head(part, f"Train images, chosen at random{of_all}")


def _random_images(
    source: BrowsableSource, label: int, random: np.random.Generator
) -> list[npt.NDArray[np.uint8]]:
    """Returns at most 10 images, none with a side above _LARGEST_SIDE."""
    indices = np.flatnonzero((source.labels == label) & np.isin(source.splits, (TRAIN, "")))
    sample = indices[random.permutation(len(indices))[:IMAGES_PER_CLASS]]
    return [_small(source.pixels(int(index))) for index in sample]


def _small(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if max(image.shape[:2]) <= _LARGEST_SIDE:
        return image
    picture = Image.fromarray(image)
    picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    return np.asarray(picture)


def _draw_samples(
    source: BrowsableSource, part: SubFigure, samples: Sequence[tuple[str, int]], rows: int
) -> None:
    grid = part.subplots(rows, _SAMPLES_PER_ROW, squeeze=False)
    described = describe_samples(source, samples)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (name, index), sample in zip(grid.flat, samples, described, strict=False):
        shape = "x".join(map(str, sample.shape))
        axes.set_axis_on()
        show_image(axes, source.pixels(example_index(source, name, index)))
        axes.set_title(f"{sample.label}  {visible(sample.label_name)}", fontsize=11)
        axes.set_xlabel(
            f"{visible(sample.id)}\n{shape}, {sample.minimum} to {sample.maximum}",
            fontsize=8,
            color=_GREY,
        )
    _head(part, "Samples")


def _head(part: SubFigure, text: str) -> None:
    part.suptitle(text, x=0.01, horizontalalignment="left", fontsize=12, fontweight="bold")


def show_image(axes: Axes, image: npt.NDArray[np.uint8]) -> None:
    """Draws the pixels as they are, without ticks or frame.

    Args:
      axes: to draw in.
      image: [height, width, 3] uint8.
    """
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def save_figure(figure: Figure, target: Path) -> None:
    """Writes a PNG, completely or not at all.

    Raises:
      UserError: `target` cannot be written.
    """
    with whole_file(target) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight", pad_inches=0.2)
