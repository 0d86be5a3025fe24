import numpy as np
import pytest
import tensorflow as tf

from inception_finetune.components.image.views import VIEWS, choose_views


@pytest.fixture
def images():
    return tf.random.stateless_uniform([3, 16, 16, 3], [0, 0], -1, 1)


def test_a_flip_mirrors_left_and_right(images):
    flipped = VIEWS["flip_left_right"](images)
    np.testing.assert_array_equal(flipped, images.numpy()[:, :, ::-1])


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [
        ("crop_top_left", slice(0, 14), slice(0, 14)),
        ("crop_top_right", slice(0, 14), slice(2, 16)),
        ("crop_bottom_left", slice(2, 16), slice(0, 14)),
        ("crop_bottom_right", slice(2, 16), slice(2, 16)),
    ],
)
def test_a_corner_crop_keeps_seven_eighths_and_the_size(images, name, rows, columns):
    expected = tf.image.resize(images[:, rows, columns], [16, 16])
    np.testing.assert_allclose(VIEWS[name](images), expected, atol=1e-6)


def test_every_view_keeps_shape_and_range(images):
    for view in VIEWS.values():
        seen = view(tf.sign(images)).numpy()
        assert seen.shape == images.shape and seen.dtype == np.float32
        assert seen.min() == -1 and seen.max() == 1


def test_each_image_gets_the_view_that_was_chosen_for_it(images):
    names = ("identity", "flip_left_right", "crop_top_left")
    seen = choose_views(images, names, tf.constant([2, 0, 1]))
    for row, name in enumerate(("crop_top_left", "identity", "flip_left_right")):
        np.testing.assert_array_equal(seen[row], VIEWS[name](images)[row])
