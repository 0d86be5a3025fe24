import numpy as np
import pytest
import tensorflow as tf

from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.image import pixels
from inception_finetune.components.image.transform import decode_and_scale


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("size", [8, 75, 299])
@pytest.mark.parametrize("central_crop", [1.0, 0.875, 0.7, 0.123456789])
@pytest.mark.parametrize("sides", [(1, 1), (32, 32), (37, 530), (299, 299), (480, 31)])
def test_pixels_become_what_transform_makes_of_the_picture(size, central_crop, sides):
    batch = noise(2, *sides, 3)
    made = pixels.crop_and_scale(tf.constant(batch), size, central_crop).numpy()
    for picture, one in zip(batch, made, strict=True):
        expected = decode_and_scale(tf.constant(encode_png(picture)), size, central_crop).numpy()
        # Between neighbours that differ by all of 2, of which float32 positions round 1e-5.
        np.testing.assert_allclose(one, expected, atol=1e-4)


def test_black_and_white_are_the_ends_of_the_range():
    for level, expected in ((0, -1.0), (255, 1.0)):
        batch = tf.fill([1, 50, 60, 3], tf.constant(level, tf.uint8))
        np.testing.assert_array_equal(pixels.crop_and_scale(batch, 1024, 0.875), expected)


def test_the_longest_sides_do_not_overflow():
    picture = np.zeros([1, 1, pixels.LARGEST_SIDE, 3], np.uint8)
    picture[..., pixels.LARGEST_SIDE // 2 :, :] = 255
    made = pixels.crop_and_scale(tf.constant(picture), 1024, 0.875).numpy()
    np.testing.assert_array_equal(made[..., :511, :], -1)
    np.testing.assert_array_equal(made[..., 513:, :], 1)


@pytest.mark.parametrize("central_crop", [0.875, 0.9, 0.7, 1.0, 1 / 3])
def test_whole_numbers_leave_out_what_tensorflow_leaves_out(central_crop):
    assert pixels._cut(central_crop) is not None
    for side in (1, 2, 3, 10, 20, 299, 1333, 65_535):
        column = tf.reshape(tf.range(side), [side, 1, 1])
        kept = tf.image.central_crop(column, central_crop)
        assert int(kept[0, 0, 0]) == int(pixels._margin(tf.constant(side), central_crop))


def test_no_constant_of_the_graph_is_rounded_by_float16():
    """Which converters make of every constant in float32: 1 / (255 * 278 ** 2) would be 0."""
    specification = tf.TensorSpec([None, None, None, 3], tf.uint8)
    function = tf.function(lambda batch: pixels.crop_and_scale(batch, 139, 0.875))
    graph = function.get_concrete_function(specification).graph
    constants = [one for one in graph.get_operations() if one.type == "Const"]
    assert constants
    assert not [one for one in constants if one.outputs[0].dtype == tf.float32]
