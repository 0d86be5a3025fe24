"""Views that are the same for every image: mirrored, or one of its corners."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import tensorflow as tf

IDENTITY: Final = "identity"
AS_SERVED: Final = -1  # number of the view that validation and serving see
CROP: Final = 0.875  # share of each side that a corner crop keeps


def _identity(images: "tf.Tensor") -> "tf.Tensor":
    return images


def _flip_left_right(images: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    return tf.reverse(images, axis=[2])


def _corner(bottom: bool, right: bool) -> "Callable[[tf.Tensor], tf.Tensor]":
    def crop(images: "tf.Tensor") -> "tf.Tensor":
        import tensorflow as tf

        height, width = images.shape[1:3]
        kept_height, kept_width = round(height * CROP), round(width * CROP)
        top, left = bottom * (height - kept_height), right * (width - kept_width)
        part = images[:, top : top + kept_height, left : left + kept_width]
        return tf.clip_by_value(tf.image.resize(part, [height, width]), -1.0, 1.0)

    return crop


# Each maps [B, S, S, 3] float32 in [-1, 1] to the same shape and range.
VIEWS: "Final[Mapping[str, Callable[[tf.Tensor], tf.Tensor]]]" = {
    IDENTITY: _identity,
    "flip_left_right": _flip_left_right,
    "crop_top_left": _corner(bottom=False, right=False),
    "crop_top_right": _corner(bottom=False, right=True),
    "crop_bottom_left": _corner(bottom=True, right=False),
    "crop_bottom_right": _corner(bottom=True, right=True),
}


def choose_views(images: "tf.Tensor", names: tuple[str, ...], choice: "tf.Tensor") -> "tf.Tensor":
    """Shows each image in its own view.

    Args:
      images: ``[B, S, S, 3]`` float32 in [-1, 1].
      names: keys of `VIEWS` to choose from.
      choice: ``[B]`` int32, index into `names` for each image; others leave the image as it is.

    Returns:
      ``[B, S, S, 3]`` float32 in [-1, 1].
    """
    import tensorflow as tf

    result = images
    for index, name in enumerate(names):
        if name != IDENTITY:
            is_chosen = (choice == index)[:, None, None, None]
            result = tf.where(is_chosen, VIEWS[name](images), result)
    return result
