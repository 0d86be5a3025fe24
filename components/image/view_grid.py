"""A picture of what training shows: images in their views, beside how they are served."""

from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.components.image.augmentation import DRAWS, show_views
from inception_finetune.components.image.settings import TrainViews
from inception_finetune.components.image.views import AS_SERVED

_MOST_COLUMNS: Final = 8  # views of an image
_LARGEST_SIDE: Final = 96  # pixels
_GAP: Final = 4  # pixels


def view_grid(images: npt.NDArray[np.float32], views: TrainViews, seed: int) -> npt.NDArray:
    """Draws each image as it is served, and to the right of it in views that training may take.

    Args:
      images: ``[N, S, S, 3]`` float32 in [-1, 1].
      views: of train images.
      seed: of the random views.

    Returns:
      ``[height, width, 3]`` uint8, a row for each image.
    """
    columns = min(_MOST_COLUMNS, views.count)
    draws = np.random.default_rng(seed).random((columns, len(images), DRAWS), np.float32)
    # Of many views as many are shown as fit, the last ones, which are random if any are.
    choices = [AS_SERVED, *range(views.count - columns, views.count)]
    draws = np.concatenate([draws[:1], draws])
    side = min(_LARGEST_SIDE, images.shape[1])
    step = side + _GAP
    grid = np.full([len(images) * step - _GAP, len(choices) * step - _GAP, 3], 255, np.uint8)
    for column, (choice, numbers) in enumerate(zip(choices, draws, strict=True)):
        chosen = tf.fill([len(images)], choice)
        seen = show_views(tf.constant(images), views, chosen, tf.constant(numbers))
        small = tf.image.resize(seen, [side, side], antialias=True).numpy()
        pixels = np.round((small.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
        for row, one in enumerate(pixels):
            top, left = row * step, column * step
            grid[top : top + side, left : left + side] = one
    return grid
