"""Pictures in other formats are stored as PNG with the very same pixels, or refused in bounds."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from helpers.encoded_pictures import encode, exif_of, noise
from helpers.made_layouts import CLASSES, converted, expected, made, read_out
from inception_finetune.components.dataset import changes, picture_formats
from inception_finetune.components.dataset.picture_formats import StoredPicture, as_png_or_jpeg
from inception_finetune.components.dataset.probe import decode_pixels, probe_image
from inception_finetune.components.image import decoding

RGB = noise(9, 14, 3)
SMOOTH = np.asarray(Image.fromarray(noise(3, 4, 3)).resize((64, 48)))


def stored(encoded: bytes) -> StoredPicture:
    found = as_png_or_jpeg(encoded)
    assert isinstance(found, StoredPicture), found
    return found


def pixels_of(found: StoredPicture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(found.encoded)))


@pytest.mark.parametrize(
    ("form", "name", "options"),
    [
        ("BMP", "BMP", {}),
        ("TIFF", "TIFF", {}),
        ("TIFF", "TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", "TIFF", {"big_tiff": True}),
        ("WEBP", "WebP", {"lossless": True}),
    ],
)
def test_lossless_formats_keep_every_pixel(form, name, options):
    found = stored(encode(Image.fromarray(RGB), form, **options))
    assert found.changes == (f"{name} as PNG",)
    np.testing.assert_array_equal(pixels_of(found), RGB)
    np.testing.assert_array_equal(decode_pixels(found.encoded), RGB)
    info = probe_image(encode(Image.fromarray(RGB), form, **options))
    assert info.digest == probe_image(encode(Image.fromarray(RGB))).digest
    assert (info.format, info.height, info.width) == ("png", 9, 14)


@pytest.mark.parametrize(
    ("form", "name", "options"),
    [("WEBP", "WebP", {}), ("HEIF", "HEIC", {"quality": 95}), ("AVIF", "AVIF", {"quality": 95})],
)
def test_lossy_formats_keep_what_their_decoder_gives(form, name, options):
    register_heif_opener()
    encoded = encode(Image.fromarray(SMOOTH), form, **options)
    found = stored(encoded)
    assert found.changes == (f"{name} as PNG",)
    decoded = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    np.testing.assert_array_equal(decode_pixels(found.encoded), decoded)
    assert np.abs(decoded.astype(int) - SMOOTH).mean() < 8  # it is that picture
    assert stored(encoded) == found


def test_png_jpeg_and_what_is_no_picture_stay_the_same_bytes():
    for encoded in (encode(Image.fromarray(RGB)), encode(Image.fromarray(RGB), "JPEG"), b"", b"x"):
        found = stored(encoded)
        assert found.encoded is encoded and found.changes == ()
    assert probe_image(b"GIF87").startswith("it is not a whole PNG or JPEG")


def test_of_an_animation_and_of_pages_the_first_is_taken():
    frames = [Image.fromarray(noise(5, 6) // 9 * 0 + level) for level in (10, 200, 90)]
    for form, name in (("GIF", "GIF"), ("TIFF", "TIFF"), ("WEBP", "WebP")):
        encoded = encode(frames[0], form, save_all=True, append_images=frames[1:])
        found = stored(encoded)
        assert found.changes == (f"{name} as PNG", changes.FIRST_OF_MANY)
        assert abs(int(decode_pixels(found.encoded).max()) - 10) <= 1


def test_transparency_stays_and_is_laid_on_white_by_the_decoder():
    rgba = noise(8, 9, 4)
    rgba[..., 3] = np.where(rgba[..., 3] > 99, 255, 0)
    for form, options in (("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        encoded = encode(Image.fromarray(rgba), form, **options)
        np.testing.assert_array_equal(pixels_of(stored(encoded)), rgba)
        assert changes.ON_WHITE in probe_image(encoded).changes
    gif = Image.fromarray(noise(8, 9) // 64, "P")
    gif.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    encoded = encode(gif, "GIF", transparency=3)
    assert changes.ON_WHITE in probe_image(encoded).changes
    where = np.asarray(gif) == 3
    shown = decode_pixels(stored(encoded).encoded)
    assert (shown[where] == 255).all() and (shown[~where].max(axis=-1) == 255).all()
    assert set(map(tuple, shown[~where])) == {(255, 0, 0), (0, 255, 0), (0, 0, 255)}


@pytest.mark.parametrize("form", ["TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(form, orientation):
    options = {"lossless": True} if form == "WEBP" else {}
    exif = Image.Exif()
    exif[274] = orientation
    found = stored(encode(Image.fromarray(RGB), form, exif=exif.tobytes(), **options))
    as_png = encode(Image.fromarray(RGB), exif=exif_of(orientation))
    np.testing.assert_array_equal(decode_pixels(found.encoded), decode_pixels(as_png))
    assert (changes.TURNED in found.changes) == (orientation != 1)
    assert probe_image(found.encoded).changes == ()


def test_a_heic_that_is_stored_turned_is_upright():
    register_heif_opener()
    exif = Image.Exif()
    exif[274] = 6
    encoded = encode(Image.fromarray(SMOOTH), "HEIF", quality=95, exif=exif.tobytes())
    shown = decode_pixels(stored(encoded).encoded)
    upright = np.rot90(SMOOTH, -1)
    assert shown.shape == upright.shape
    assert np.abs(shown.astype(int) - upright).mean() < 8


def test_16_bits_of_grey_stay_until_the_decoder_and_32_are_refused():
    deep = noise(6, 7, dtype=np.uint16)
    for endian in ("<u2", ">u2"):
        encoded = encode(Image.fromarray(deep.astype(endian)), "TIFF")
        np.testing.assert_array_equal(pixels_of(stored(encoded)), deep)
        np.testing.assert_array_equal(decode_pixels(stored(encoded).encoded)[..., 0], deep // 256)
        assert changes.REDUCED in probe_image(encoded).changes
    small = np.arange(42, dtype=np.int32).reshape(6, 7) * 1000
    assert (pixels_of(stored(encode(Image.fromarray(small), "TIFF"))) == small).all()
    for values in (small * 100, small - 1, small.astype(np.float32)):
        told = as_png_or_jpeg(encode(Image.fromarray(values), "TIFF"))
        assert "and 8 or 16 bits are read" in told


def test_cmyk_one_bit_and_palettes_become_what_png_has():
    cmyk = Image.fromarray(noise(5, 6, 4), "CMYK")
    found = stored(encode(cmyk, "TIFF"))
    assert changes.FROM_CMYK in found.changes
    np.testing.assert_array_equal(decode_pixels(found.encoded), np.asarray(cmyk.convert("RGB")))
    bits = Image.fromarray(noise(5, 6)).convert("1")
    for form in ("TIFF", "BMP"):
        shown = decode_pixels(stored(encode(bits, form)).encoded)
        np.testing.assert_array_equal(shown[..., 0], np.asarray(bits.convert("L")))
    palette = Image.fromarray(RGB).quantize(7)
    for form in ("TIFF", "BMP", "GIF"):
        shown = decode_pixels(stored(encode(palette, form)).encoded)
        np.testing.assert_array_equal(shown, np.asarray(palette.convert("RGB")))


def test_the_bound_is_the_decoders():
    assert picture_formats.MAX_PIXELS == decoding.MAX_PIXELS


def bmp_claiming(width: int, height: int, compression: int = 0, data: bytes = b"") -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, 0, 0, 0, 0, 0)
    start = 14 + len(header) + 1024
    begins = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start)
    return begins + header + bytes(1024) + data


def tiled_tiff(side: int) -> bytes:
    """A picture of 8 x 8 pixels in a tile of `side` x `side`."""
    data = zlib.compress(bytes(1000))
    tags = [(256, 8), (257, 8), (258, 8), (259, 8), (262, 1), (277, 1), (322, side), (323, side)]
    at = 8 + 2 + 12 * 10 + 4
    tags += [(324, at), (325, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


BOMBS = {
    "bmp": bmp_claiming(60_000, 60_000),
    # Each pair of bytes jumps 255 rows, for which Pillow would write as many bytes.
    "bmp of one long row": bmp_claiming(2**26, 1, 1, b"\0\2\0\xff" * 1000),
    "gif": b"GIF89a"
    + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
    + b",\0\0\0\0\xff\xff\xff\xff\0\2",
    "webp": encode(Image.new("L", (16000, 16000)), "WEBP", lossless=True, method=0, quality=0),
    "tiff": encode(Image.new("L", (12_000, 12_000)), "TIFF", compression="tiff_adobe_deflate"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_before_memory_is_taken(kind):
    assert len(BOMBS[kind]) < 1 << 20
    tracemalloc.start()
    told = as_png_or_jpeg(BOMBS[kind])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(told, str) and "pixels, and at most 67,108,864 are read" in told
    assert peak < 1 << 24


def test_a_tile_larger_than_the_picture_is_refused():
    assert not decode_pixels(stored(tiled_tiff(16)).encoded).any()
    assert "in tiles of 65,520 x 65,520 pixels" in as_png_or_jpeg(tiled_tiff(65_520))
    assert "in tiles of no known size" in as_png_or_jpeg(tiled_tiff(2**31))


@pytest.mark.parametrize("form", ["BMP", "GIF", "TIFF", "WEBP", "HEIF", "AVIF"])
def test_damaged_files_are_refused_in_words(form):
    register_heif_opener()
    encoded = encode(Image.fromarray(SMOOTH), form)
    random = np.random.default_rng(0)
    refused = 0
    for number in range(60):
        data = bytearray(encoded)
        at = int(random.integers(12, len(data)))
        if number % 2:
            data[at] ^= 0xFF
        else:
            del data[at:]
        found = as_png_or_jpeg(bytes(data))
        if isinstance(found, str):
            refused += 1
            assert found.startswith("it is a ") and "\n" not in found and len(found) < 300
            assert isinstance(probe_image(bytes(data)), str)
    assert refused > 10


def test_a_folder_of_all_formats_is_converted_and_said(tmp_path, capsys):
    source = tmp_path / "in"
    forms = ("BMP", "TIFF", "PNG", "GIF", "WEBP")
    for one in made("train", "test"):
        form = forms[one.number % 5]
        options = {"lossless": True} if form == "WEBP" else {}
        image = Image.fromarray(one.pixels)
        path = source / one.split / CLASSES[one.label] / f"{one.number}.{form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(image.quantize(256) if form == "GIF" else image, form, **options))
    manifest = converted(source)
    assert read_out(source) == expected()
    assert manifest.changed == {
        "BMP as PNG": 5,
        "GIF as PNG": 3,
        "TIFF as PNG": 4,
        "WebP as PNG": 3,
    }
    told = capsys.readouterr().err
    assert "4 TIFF pictures stored as PNG, without loss (" in told
