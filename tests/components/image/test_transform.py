import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from inception_finetune.components import features
from inception_finetune.components.image import decoding
from inception_finetune.components.image.transform import decode_and_scale, preprocessing_fn


def encode(pixels: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def test_black_and_white_become_minus_one_and_one():
    pixels = np.zeros([2, 2, 3], np.uint8)
    pixels[:, 1] = 255
    image = decode_and_scale(tf.constant(encode(pixels)), size=2, central_crop=1.0)
    assert image.dtype == tf.float32
    np.testing.assert_array_equal(image[:, 0], -np.ones([2, 3]))
    np.testing.assert_array_equal(image[:, 1], np.ones([2, 3]))


def test_values_are_pixel_over_127_5_minus_one():
    pixels = np.arange(75 * 75 * 3, dtype=np.int64).reshape(75, 75, 3) % 256
    image = decode_and_scale(tf.constant(encode(pixels.astype(np.uint8))), 75, 1.0)
    np.testing.assert_allclose(image, pixels / 127.5 - 1.0, atol=1e-6)


def test_the_crop_is_central_and_keeps_its_share_of_each_side():
    pixels = np.zeros([32, 32, 3], np.uint8)
    pixels[2:30, 2:30] = 255  # the central 0.875 of 32 pixels is 28
    image = decode_and_scale(tf.constant(encode(pixels)), 28, 0.875)
    np.testing.assert_array_equal(image, np.ones([28, 28, 3]))


def test_resizing_is_bilinear():
    pixels = np.zeros([1, 2, 3], np.uint8)
    pixels[0, 1] = 255
    image = decode_and_scale(tf.constant(encode(pixels)), 4, 1.0)
    # Half-pixel centres: 0, 1/4, 3/4, 1 of the way from black to white.
    np.testing.assert_allclose(image[0, :, 0], [-1.0, -0.5, 0.5, 1.0], atol=1e-6)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_grey_pictures_of_each_format_become_three_equal_channels(form):
    image = decode_and_scale(tf.constant(encode(np.full([9, 7], 51, np.uint8), form)), 75, 1.0)
    np.testing.assert_allclose(image, np.full([75, 75, 3], 51 / 127.5 - 1), atol=0.02)


def test_a_batch_may_hold_pictures_of_different_sizes():
    small, large = np.zeros([8, 8, 3], np.uint8), np.full([40, 20, 3], 255, np.uint8)
    transformed = preprocessing_fn(
        {
            features.IMAGE_ENCODED: tf.constant([encode(small), encode(large)]),
            features.LABEL: tf.constant([3, 1], tf.int64),
        },
        {"size": 75, "central_crop": 0.875},
    )
    np.testing.assert_array_equal(transformed[features.IMAGE][0], -np.ones([75, 75, 3]))
    np.testing.assert_array_equal(transformed[features.IMAGE][1], np.ones([75, 75, 3]))
    np.testing.assert_array_equal(transformed[features.TRANSFORMED_LABEL], [3, 1])


def picture_of(mode: str, form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (9, 7), 51).convert(mode).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "form"),
    [("P", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("RGB", "JPEG")],
)
def test_palette_alpha_and_cmyk_are_read_as_colours(mode, form):
    image = decode_and_scale(tf.constant(picture_of(mode, form)), 75, 1.0)
    np.testing.assert_allclose(image, np.full([75, 75, 3], 51 / 127.5 - 1), atol=0.02)


def test_of_16_bits_the_upper_8_count():
    buffer = io.BytesIO()
    Image.fromarray(np.full([9, 7], 51 * 256 + 200, np.uint16)).save(buffer, "PNG")
    image = decode_and_scale(tf.constant(buffer.getvalue()), 75, 1.0)
    np.testing.assert_allclose(image, np.full([75, 75, 3], 51 / 127.5 - 1), atol=1e-6)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        encode(np.zeros([9, 9, 3], np.uint8))[:40],
        encode(np.zeros([9, 9, 3], np.uint8), "GIF"),
        encode(np.zeros([9, 9, 3], np.uint8), "JPEG")[:300],
    ],
    ids=["empty", "cut off", "GIF", "JPEG cut off"],
)
def test_what_is_no_whole_png_or_jpeg_is_an_error_not_a_grey_square(encoded):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_and_scale(tf.constant(encoded), 75, 1.0)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_header_that_promises_too_much_is_refused_before_it_is_given_memory(form, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 80)
    with pytest.raises(tf.errors.InvalidArgumentError, match="height and width are"):
        decode_and_scale(tf.constant(encode(np.zeros([9, 9, 3], np.uint8), form)), 75, 1.0)
