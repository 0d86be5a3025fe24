import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from inception_finetune.components.image import cost, decoding
from inception_finetune.components.image import decoding_without_tensorflow as light

SIDES = [(1, 1), (2, 3), (64, 64), (37, 53), (150, 201)]


def picture(height: int, width: int) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    waves = [127 + 120 * np.sin(columns / 7 + k) * np.cos(rows / (5 + k)) for k in range(3)]
    noise = np.random.default_rng(height).normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8))


def saved(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def both(encoded: bytes) -> tuple[np.ndarray, np.ndarray]:
    return light.decode(encoded), decoding.decode(tf.constant(encoded)).numpy()


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_has_tensorflows_pixels(sides, subsampling, progressive):
    for mode, quality in (("RGB", 40), ("RGB", 95), ("L", 80)):
        encoded = saved(
            picture(*sides).convert(mode),
            "JPEG",
            quality=quality,
            subsampling=subsampling,
            progressive=progressive,
        )
        np.testing.assert_array_equal(*both(encoded))


def test_inks_become_nearly_the_same_colours():
    """libjpeg's two transforms differ; the light decoder has no fast one for four inks."""
    ours, theirs = both(saved(picture(64, 64).convert("CMYK"), "JPEG", quality=90))
    assert np.abs(ours.astype(int) - theirs).max() <= 8


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA"])
@pytest.mark.parametrize("sides", SIDES)
def test_png_has_tensorflows_pixels(mode, sides):
    image = picture(*sides)
    if mode.endswith("A"):
        alpha = Image.fromarray(np.asarray(image)[..., 0])
        image = image.convert("L" if mode == "LA" else "RGB")
        image.putalpha(alpha)
    encoded = saved(image.convert(mode), "PNG")
    np.testing.assert_array_equal(*both(encoded))


@pytest.mark.parametrize("key", [None, 3])
def test_palettes_may_be_transparent(key):
    options = {} if key is None else {"transparency": key}
    np.testing.assert_array_equal(
        *both(saved(picture(40, 30).quantize(16), "PNG", bits=4, **options))
    )
    coloured = picture(40, 30)
    colour = coloured.getpixel((3, 3))
    np.testing.assert_array_equal(*both(saved(coloured, "PNG", transparency=colour)))


def test_of_16_bits_the_upper_8_are_taken():
    grey = np.random.default_rng(0).integers(0, 2**16, (20, 30)).astype(np.uint16)
    np.testing.assert_array_equal(*both(saved(Image.fromarray(grey), "PNG")))
    wide = np.random.default_rng(0).integers(0, 2**16, (5, 7, 3)).astype(np.uint16)
    np.testing.assert_array_equal(*both(tf.io.encode_png(wide).numpy()))
    wide = np.random.default_rng(0).integers(0, 2**16, (5, 7, 4)).astype(np.uint16)
    np.testing.assert_array_equal(*both(tf.io.encode_png(wide).numpy()))


@pytest.mark.parametrize("orientation", range(0, 10))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_pictures_are_turned_as_their_exif_says(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(*both(saved(picture(24, 40), form, exif=exif)))


def test_an_orientation_outside_of_exif_is_no_orientation():
    xmp = b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"></x>'
    np.testing.assert_array_equal(*both(saved(picture(24, 40), "JPEG", xmp=xmp)))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_what_is_cut_off_is_refused_by_both(form):
    encoded = saved(picture(64, 64), form)
    for end in (0, 3, 9, 40, len(encoded) // 2, len(encoded) * 9 // 10):
        with pytest.raises(light.UnreadablePictureError, match="a whole PNG or JPEG"):
            light.decode(encoded[:end])
        assert not decoding.are_whole(tf.constant([encoded[:end]])).numpy()[0]


def test_neither_other_formats_nor_bombs_are_read():
    many = saved(picture(10, 10), "PNG").replace(b"IDAT", b"IDAT" + b"zTXt" * 33)
    gif = saved(picture(10, 10), "GIF")
    wide = saved(Image.new("1", (2**16, 1)), "PNG")
    large = saved(Image.new("1", (2**13 + 1, 2**13)), "PNG")
    for encoded in (b"", b"no picture", gif, many, wide, large):
        with pytest.raises(light.UnreadablePictureError):
            light.decode(encoded)


def test_bounds_and_rule_are_those_of_the_graph():
    assert light.RULE == decoding.RULE
    assert (light.MAX_PIXELS, light.MAX_SCANS) == (decoding.MAX_PIXELS, cost.MAX_SCANS)
    assert light.MAX_SCANNED_PIXELS == cost.MAX_SCANNED_PIXELS
    assert light.MAX_TEXTS == cost.MAX_TEXTS
