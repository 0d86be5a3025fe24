"""Draws train images of a data set in the views that training takes of them."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from inception_finetune.components.dataset.grid import save_figure, show_image
from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.dataset.source import BrowsableSource
from inception_finetune.components.features import TRAIN
from inception_finetune.components.image.settings import Image
from inception_finetune.components.image.transform import decode_and_scale
from inception_finetune.components.image.view_grid import view_grid

_ROWS = 8  # images
_PIXELS_PER_INCH = 96


def draw_views(source: BrowsableSource, target: Path, settings: Image, *, seed: int) -> None:
    """Draws random train images as they are served, and in views beside it, as a PNG.

    Args:
      source: the examples.
      target: path of the PNG.
      settings: of images and views.
      seed: chooses the images and the random views.

    Raises:
      UserError: `target` cannot be written.
    """
    train = np.flatnonzero(np.isin(source.splits, (TRAIN, "")))
    chosen = np.random.default_rng(seed).permutation(train)[:_ROWS]
    images = [
        decode_and_scale(
            tf.constant(encode_png(source.pixels(int(index)))), settings.size, settings.central_crop
        )
        for index in chosen
    ]
    grid = view_grid(tf.stack(images).numpy(), settings.train_views, seed)
    height, width, _ = grid.shape
    figure = Figure(figsize=(width / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH), dpi=150)
    axes = figure.subplots()
    axes.set_title("As served, and in views that training takes", loc="left")
    show_image(axes, grid)
    save_figure(figure, target)
