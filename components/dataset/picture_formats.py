"""Pictures in other formats than PNG and JPEG, made PNG once, without loss: what is stored is that.

The one decoder of training and serving reads PNG and JPEG alone. Files may come from anyone: the
format is told by the first bytes, Pillow is given no other one to try, and the size that the header
claims is checked before memory is taken for the pixels.
"""

from __future__ import annotations

import io
import struct
import warnings
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from inception_finetune.components.dataset import changes

if TYPE_CHECKING:
    from PIL.Image import Image

# The decoder's own bound (components.image.decoding.MAX_PIXELS), which is not imported for it:
# that is TensorFlow's import. A test compares.
MAX_PIXELS: Final = 2**26
_LONGEST_SIDE: Final = 2**16 - 1  # pixels; rows of other lengths cost memory in some decoders
_HEIC: Final = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_AVIF: Final = (b"avif", b"avis")
_NAMES: Final = {
    **{"WEBP": "WebP", "BMP": "BMP", "GIF": "GIF"},
    **{"TIFF": "TIFF", "HEIF": "HEIC", "AVIF": "AVIF"},
}
_TILE_SIDES: Final = (322, 323)  # tags of TIFF
_ORIENTATION: Final = 274  # tag of EXIF and TIFF
_UPRIGHT: Final = 1
_BITS: Final = 258  # tag of TIFF: of each channel
_DEEP: Final = 8  # bits; what has more and is read as 8 has lost some
_GREY_16: Final = "I;16"
_LARGEST_16: Final = 65535
_LONGEST: Final = 120  # characters of a library's own words


class StoredPicture(NamedTuple):
    """A picture as it is stored."""

    encoded: bytes  # PNG or JPEG
    changes: tuple[str, ...] = ()  # kinds of `dataset.changes` that making it has cost


def format_of(encoded: bytes) -> str | None:
    """Returns Pillow's name of a format that is made PNG, by the first bytes of a file."""
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "WEBP"
    if encoded[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if encoded[:2] == b"BM":
        return "BMP"
    if encoded[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if encoded[4:8] == b"ftyp":
        size = min(int.from_bytes(encoded[:4], "big"), 256)
        brands = {encoded[at : at + 4] for at in (8, *range(16, size, 4))}
        if brands & {*_AVIF}:
            return "AVIF"
        if brands & {*_HEIC}:
            return "HEIF"
    return None


def as_png_or_jpeg(encoded: bytes) -> StoredPicture | str:
    """Makes a PNG of a picture in another format; PNG, JPEG and what is no picture stay as it is.

    The PNG has the very pixels of the file, upright: of an animation or of several pages the first
    one, with its transparency. The same bytes give the same PNG.

    Args:
      encoded: content of a file.

    Returns:
      The picture as it is stored, or the reason to reject it.
    """
    form = format_of(encoded)
    if form is None:
        return StoredPicture(encoded)
    name = _NAMES[form]
    from PIL import Image, ImageOps

    if form == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, which are refused below
            with Image.open(io.BytesIO(encoded), formats=[form]) as image:
                if reason := _too_large(image):
                    return f"it is a {name} {reason}"
                kinds = [changes.as_png(name)]
                if _has_more(image, form):
                    kinds.append(changes.FIRST_OF_MANY)
                if _is_deeper(image):
                    kinds.append(changes.REDUCED)
                if image.getexif().get(_ORIENTATION, _UPRIGHT) in range(2, 9):
                    kinds.append(changes.TURNED)
                image.load()
                upright = ImageOps.exif_transpose(image)
                if upright.mode == "CMYK":
                    kinds.append(changes.FROM_CMYK)
                shown = _in_a_mode_of_png(upright)
    except Image.DecompressionBombError:  # Pillow's own bound, which is above ours
        return f"it is a {name} of too many pixels, and at most {MAX_PIXELS:,} are read"
    except Exception as error:  # noqa: BLE001 (each of Pillow's decoders raises its own)
        words = " ".join(str(error).replace(repr(encoded), "").split())[:_LONGEST]
        return f"it is a {name} that cannot be read ({words or type(error).__name__})"
    if shown is None:
        return f"it is a {name} with values of {image.mode}, and 8 or 16 bits are read"
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", compress_level=1)
    return StoredPicture(buffer.getvalue(), tuple(kinds))


def _too_large(image: Image) -> str:
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > _LONGEST_SIDE:
        return f"of {width:,} x {height:,} pixels, and at most {MAX_PIXELS:,} are read"
    tags = getattr(image, "tag_v2", {})
    sides = [tags.get(tag, 1) for tag in _TILE_SIDES]
    if not all(isinstance(side, int) and side <= _LONGEST_SIDE for side in sides):
        return "in tiles of no known size"
    if sides[0] * sides[1] > MAX_PIXELS:
        return (
            f"in tiles of {sides[0]:,} x {sides[1]:,} pixels, and at most {MAX_PIXELS:,} are read"
        )
    return ""


def _has_more(image: Image, form: str) -> bool:
    """Returns whether a second picture follows; leaves the first one to be loaded."""
    if form not in ("GIF", "TIFF"):
        return getattr(image, "n_frames", 1) > 1
    try:
        image.seek(1)  # to count all of them may take long
    except (EOFError, ValueError, SyntaxError, OSError, struct.error):
        return False
    finally:
        image.seek(0)
    return True


def _is_deeper(image: Image) -> bool:
    """Returns whether the file holds more than the 8 bits that Pillow reads of each channel."""
    bits = getattr(image, "tag_v2", {}).get(_BITS, image.info.get("bit_depth", _DEEP))
    bits = bits if isinstance(bits, tuple) else (bits,)
    is_read_as_8 = image.mode in ("L", "LA", "RGB", "RGBA", "RGBX", "CMYK")
    return is_read_as_8 and any(isinstance(one, int) and one > _DEEP for one in bits)


def _in_a_mode_of_png(image: Image) -> Image | None:
    """Returns the same pixels in a mode that PNG has without loss; None if there is none."""
    from PIL import Image as pil  # noqa: N813

    if image.mode in ("L", "LA", "RGB", "RGBA", _GREY_16):
        has_key = "transparency" in image.info
        return image.convert("RGBA") if has_key and image.mode in ("L", "RGB") else _bare(image)
    if image.mode.startswith("I"):  # whole numbers of 16 or 32 bits, in any order of bytes
        values = np.asarray(image)
        fits = values.min() >= 0 and values.max() <= _LARGEST_16
        return pil.fromarray(values.astype("<u2")) if fits else None
    if image.mode == "F":
        return None
    if image.mode == "1":
        return _bare(image.convert("L"))
    has_alpha = image.mode in ("PA", "La", "RGBa") or "transparency" in image.info
    return _bare(image.convert("RGBA" if has_alpha else "RGB"))


def _bare(image: Image) -> Image:
    """Drops EXIF, profiles and texts, which PNG would keep: turned pixels need no orientation."""
    image.info.clear()
    return image
