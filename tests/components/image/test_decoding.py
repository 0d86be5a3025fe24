"""The one decoder, held against Pillow: which way up, on white, and how many bits."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from helpers.encoded_pictures import (
    deep,
    encode,
    exif_of,
    noise,
    transparent,
    with_chunks,
    with_segments,
)
from inception_finetune.components.image import decoding, exif

DECODE = tf.function(decoding.decode_with_head, input_signature=[tf.TensorSpec([], tf.string)])


def decode(encoded: bytes) -> np.ndarray:
    return DECODE(encoded)[0].numpy()


def shown_by_pillow(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def on_white_by_pillow(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as image:
        over = image.convert("RGBA")
    white = Image.new("RGBA", over.size, "white")
    white.alpha_composite(over)
    return np.asarray(white.convert("RGB"))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_picture_as_pillow_does(form, endian, orientation):
    flat = Image.fromarray(noise(3, 2, 3)).resize((48, 64), Image.Resampling.NEAREST)
    encoded = encode(flat, form, exif=exif_of(orientation, endian))
    found, wanted = decode(encoded), shown_by_pillow(encoded)
    assert found.shape == wanted.shape == ((48, 64, 3) if orientation >= 5 else (64, 48, 3))
    np.testing.assert_allclose(found.astype(int), wanted, atol=0 if form == "PNG" else 4)


def test_exif_is_found_behind_other_segments_and_fill_bytes():
    jpeg = encode(Image.fromarray(noise(8, 16, 3)), "JPEG")
    segments = [(0xE2, b"ICC" * 9), (0xFE, b"Exif\0\0 said a comment"), (0xE1, exif_of(6))]
    assert decode(with_segments(jpeg, *segments)).shape == (16, 8, 3)
    filled = with_segments(jpeg, (0xE1, exif_of(6)))
    assert decode(filled[:2] + b"\xff\xff" + filled[2:]).shape == (16, 8, 3)


TIFF = exif_of(6)[6:]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*",
        b"Exif\0\0" + TIFF[:9],
        b"Exif\0\0" + TIFF[:20],
        b"Exif\0\0XX" + TIFF[2:],
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        exif_of(0),
        exif_of(9),
        exif_of(65535),
    ],
)
def test_exif_that_is_damaged_says_nothing(data):
    pixels = noise(8, 16, 3)
    png, jpeg = (encode(Image.fromarray(pixels), form) for form in ("PNG", "JPEG"))
    np.testing.assert_array_equal(decode(with_chunks(png, (b"eXIf", data))), pixels)
    np.testing.assert_array_equal(decode(with_segments(jpeg, (0xE1, data))), decode(jpeg))


def test_a_png_of_very_many_chunks_is_read_in_bounded_steps():
    """What stands behind them is not turned by, yet transparency is never lost."""
    rgba = noise(4, 6, 4)
    encoded = encode(Image.fromarray(rgba).quantize(8), transparency=bytes(range(0, 240, 30)))
    many = with_chunks(encoded, *[(b"teSt", b"")] * 2 * exif.MOST_STEPS, (b"eXIf", TIFF))
    found = decode(many)
    assert found.shape == (4, 6, 3)
    np.testing.assert_allclose(found.astype(int), on_white_by_pillow(encoded), atol=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_transparency_lies_on_white_as_pillow_lays_it(mode):
    encoded = transparent(mode)
    found, wanted = decode(encoded), on_white_by_pillow(encoded)
    np.testing.assert_allclose(found.astype(int), wanted, atol=1)
    assert (found == decoding.GROUND).any()


def test_every_mixture_with_white_is_the_nearest_level():
    colour, alpha = np.mgrid[0:256, 0:256].astype(np.uint8)
    encoded = encode(Image.fromarray(np.dstack([colour, colour, colour, alpha])))
    exact = (colour.astype(float) * alpha + 255.0 * (255 - alpha.astype(float))) / 255
    np.testing.assert_array_equal(decode(encoded)[..., 0], np.rint(exact))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
def test_what_is_opaque_keeps_its_pixels(mode):
    image = Image.fromarray(noise(16, 16, 3)).convert(mode)
    encoded = encode(image, dpi=(72, 72))
    np.testing.assert_array_equal(decode(encoded), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpegs_are_read_as_pillow_does(mode):
    encoded = encode(Image.fromarray(noise(3, 2, 3)).resize((32, 48)).convert(mode), "JPEG")
    found, head = DECODE(encoded)
    np.testing.assert_allclose(found.numpy().astype(int), shown_by_pillow(encoded), atol=4)
    assert bool(head.is_cmyk) == (mode == "CMYK")


@pytest.mark.parametrize("channels", [1, 3])
def test_of_16_bits_the_upper_8_stay(channels):
    values = noise(8, 9, channels, dtype=np.uint16)
    wanted = np.broadcast_to(values >> 8, (8, 9, 3))
    np.testing.assert_array_equal(decode(deep(values)), wanted)


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_of_16_bits_lies_on_white(channels):
    encoded = deep(noise(8, 9, channels, dtype=np.uint16))
    found, wanted = decode(encoded), on_white_by_pillow(encoded)
    np.testing.assert_allclose(found.astype(int), wanted, atol=1)


def test_all_of_it_runs_where_tensorflow_data_does():
    flat = Image.fromarray(noise(8, 16, 3))
    encoded = [encode(flat, "JPEG", exif=exif_of(6)), transparent("P"), encode(flat), b"none"]
    shapes = [
        tuple(one.shape)
        for one in tf.data.Dataset.from_tensor_slices(encoded[:3]).map(decoding.decode)
    ]
    assert shapes == [(16, 8, 3), (16, 16, 3), (8, 16, 3)]
    assert decoding.are_whole(tf.constant(encoded)).numpy().tolist() == [True] * 3 + [False]


def test_whole_is_what_can_be_decoded():
    """One damaged byte each, in headers, EXIF, transparency and pixels."""
    flat = Image.fromarray(noise(8, 16, 3))
    files = [encode(flat, form, exif=exif_of(6)) for form in ("PNG", "JPEG")] + [
        transparent(mode) for mode in ("RGBA", "P", "RGB")
    ]
    generator = np.random.default_rng(0)
    damaged = []
    for file in files:
        for at in generator.choice(len(file), 60, replace=False):
            damaged.append(
                file[:at] + bytes([file[at] ^ generator.integers(1, 256)]) + file[at + 1 :]
            )
        damaged += [file[:at] for at in generator.choice(len(file), 20, replace=False)]

    def can_be_decoded(encoded: bytes) -> bool:
        try:
            return decode(encoded).size > 0
        except tf.errors.InvalidArgumentError:
            return False

    wanted = [can_be_decoded(one) for one in damaged]
    assert 0 < sum(wanted) < len(wanted)
    assert decoding.are_whole(tf.constant(damaged)).numpy().tolist() == wanted
