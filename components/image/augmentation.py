"""Random views of images: crops, flips, colours, RandAugment and erasing.

Each is a function of uniform numbers that the caller draws, not of a generator's state. The same
numbers give the same view in TrunkFeatures and in training, on any device, after any resumption.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from inception_finetune.components.image import rand_augment
from inception_finetune.components.image.settings import Augmentation, TrainViews
from inception_finetune.components.image.views import choose_views

if TYPE_CHECKING:
    import tensorflow as tf

# Of Random Erasing, https://arxiv.org/abs/1708.04896, section 4.2: share of the area, and the
# widest ratio of its sides.
_ERASED: Final = (0.02, 0.4)
_ERASED_ASPECT: Final = 1 / 0.3


class _Kind(NamedTuple):
    draws: int  # uniform numbers that an image takes
    is_on: Callable[[Augmentation], bool]
    # From [B, S, S, 3] float32 in [-1, 1] and [B, draws] to the same shape and range.
    apply: "Callable[[tf.Tensor, tf.Tensor, Augmentation], tf.Tensor]"


def _crop(images: "tf.Tensor", draws: "tf.Tensor", settings: Augmentation) -> "tf.Tensor":
    """Keeps a random part and resizes it, as https://arxiv.org/abs/1409.4842, section 6, does."""
    import tensorflow as tf

    area, aspect, top, left = tf.unstack(draws, axis=1)
    area = settings.crop_area + area * (1 - settings.crop_area)
    aspect = tf.exp((2 * aspect - 1) * math.log(settings.crop_aspect))
    height = tf.minimum(tf.sqrt(area / aspect), 1.0)
    width = tf.minimum(tf.sqrt(area * aspect), 1.0)
    top, left = top * (1 - height), left * (1 - width)
    boxes = tf.stack([top, left, top + height, left + width], axis=1)
    size = images.shape[1:3]
    return tf.image.crop_and_resize(images, boxes, tf.range(tf.shape(images)[0]), size)


def _flip(images: "tf.Tensor", draws: "tf.Tensor", settings: Augmentation) -> "tf.Tensor":
    import tensorflow as tf

    return tf.where(draws[:, :, None, None] < settings.flip, tf.reverse(images, [2]), images)


def _colour(images: "tf.Tensor", draws: "tf.Tensor", settings: Augmentation) -> "tf.Tensor":
    """Changes brightness, contrast, saturation and hue, in this order."""
    import tensorflow as tf

    highest = (settings.brightness, settings.contrast, settings.saturation, settings.hue)
    change = (2 * draws - 1) * tf.constant(highest)
    brighter, contrast, saturated, hue = tf.unstack(change[:, :, None, None, None], axis=1)
    value = (images + 1) / 2 * (1 + brighter)
    grey = tf.reduce_mean(tf.image.rgb_to_grayscale(value), axis=[1, 2], keepdims=True)
    value += contrast * (value - grey)
    if settings.saturation or settings.hue:
        # Luma and two chromas, whose plane a change of hue turns.
        luma, first, second = tf.split(tf.image.rgb_to_yiq(value), 3, axis=3)
        angle = 2 * math.pi * hue
        cosine, sine = (1 + saturated) * tf.cos(angle), (1 + saturated) * tf.sin(angle)
        turned = [luma, cosine * first - sine * second, sine * first + cosine * second]
        value = tf.image.yiq_to_rgb(tf.concat(turned, axis=3))
    return tf.clip_by_value(2 * value - 1, -1.0, 1.0)


def _erase(images: "tf.Tensor", draws: "tf.Tensor", settings: Augmentation) -> "tf.Tensor":
    """Greys out a rectangle."""
    import tensorflow as tf

    chance, area, aspect, top, left = tf.unstack(draws, axis=1)
    area = _ERASED[0] + area * (_ERASED[1] - _ERASED[0])
    aspect = tf.exp((2 * aspect - 1) * math.log(_ERASED_ASPECT))
    inside = [
        _between(length, start, share)
        for length, start, share in (
            (images.shape[1], top, tf.minimum(tf.sqrt(area / aspect), 1.0)),
            (images.shape[2], left, tf.minimum(tf.sqrt(area * aspect), 1.0)),
        )
    ]
    erased = inside[0][:, :, None] & inside[1][:, None, :]
    erased &= (chance < settings.erase)[:, None, None]
    return tf.where(erased[..., None], 0.0, images)


def _between(length: int, start: "tf.Tensor", share: "tf.Tensor") -> "tf.Tensor":
    """Tells which positions lie in a stretch of `share` of the side: ``[B, length]`` bool."""
    import tensorflow as tf

    first = (start * (1 - share))[:, None]
    centres = (tf.range(length, dtype=tf.float32) + 0.5) / length
    return (centres >= first) & (centres < first + share[:, None])


# In the order in which they are applied.
AUGMENTATIONS: Final[Mapping[str, _Kind]] = {
    "crop": _Kind(4, lambda settings: settings.crop_area < 1, _crop),
    "flip": _Kind(1, lambda settings: settings.flip > 0, _flip),
    "colour": _Kind(
        4,
        lambda settings: bool(
            settings.brightness or settings.contrast or settings.saturation or settings.hue
        ),
        _colour,
    ),
    "rand_augment": _Kind(
        rand_augment.DRAWS,
        lambda settings: settings.rand_augment > 0,
        lambda images, draws, settings: rand_augment.apply(
            images, draws, settings.rand_augment, settings.magnitude
        ),
    ),
    "erase": _Kind(5, lambda settings: settings.erase > 0, _erase),
}
DRAWS: Final = sum(kind.draws for kind in AUGMENTATIONS.values())  # that each view takes


def stored_draws(key: int, view: int) -> npt.NDArray[np.float32]:
    """Returns the numbers of a view that is stored: ``[DRAWS]`` float32 in [0, 1).

    Args:
      key: `order_key` of the example.
      view: number of the view.
    """
    return np.random.default_rng([key % 2**64, view]).random(DRAWS, np.float32)


def show_views(
    images: "tf.Tensor", views: TrainViews, choice: "tf.Tensor", draws: "tf.Tensor"
) -> "tf.Tensor":
    """Shows each image in one of the views.

    Args:
      images: ``[B, S, S, 3]`` float32 in [-1, 1].
      views: to choose from; the random ones come last.
      choice: ``[B]`` int32, number of each image's view; a negative one leaves it as it is.
      draws: ``[B, DRAWS]`` float32, uniform in [0, 1), for random views.

    Returns:
      ``[B, S, S, 3]`` float32 in [-1, 1].
    """
    import tensorflow as tf

    shown = choose_views(images, views.views, choice)
    if not views.random_views:
        return shown
    is_random = (choice >= len(views.views))[:, None, None, None]
    return tf.where(is_random, augment(images, draws, views.augmentation), shown)


def augment(images: "tf.Tensor", draws: "tf.Tensor", settings: Augmentation) -> "tf.Tensor":
    """Shows each image in a view of its own.

    Each kind has its own numbers, so that switching one on leaves the others as they were.

    Args:
      images: ``[B, S, S, 3]`` float32 in [-1, 1].
      draws: ``[B, DRAWS]`` float32, uniform in [0, 1).
      settings: of the views.

    Returns:
      ``[B, S, S, 3]`` float32 in [-1, 1].
    """
    import tensorflow as tf

    parts = tf.split(draws, [kind.draws for kind in AUGMENTATIONS.values()], axis=1)
    for kind, part in zip(AUGMENTATIONS.values(), parts, strict=True):
        if kind.is_on(settings):
            images = kind.apply(images, part, settings)
    return images
