"""Decodes pictures to the pixels of `decoding.decode`, where no TensorFlow is installed.

JPEG is decoded by libjpeg-turbo with the transform that TensorFlow has chosen (the fast one), PNG
by Pillow. What `decoding` refuses is refused here.
"""

import io
import warnings
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from inception_finetune.components.dataset.picture_formats import MAX_PIXELS

if TYPE_CHECKING:
    from PIL import Image

# As in `decoding` and `cost`, which import TensorFlow; a test compares.
LARGEST_SIDE: Final = 2**16 - 1
MAX_SCANNED_PIXELS: Final = 2**30
MAX_SCANS: Final = 1000
MAX_TEXTS: Final = 32
RULE: Final = f"a whole PNG or JPEG of at most {MAX_PIXELS:,} pixels, with few scans and texts"

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_START_OF_SCAN: Final = 0xFFDA
_SEQUENTIAL: Final = (0xFFC0, 0xFFC1)  # frames whose pixels may come in one scan
_MOST_SEGMENTS: Final = 256
_ORIENTATION: Final = 0x0112  # tag of EXIF
_GROUND: Final = 255


class UnreadablePictureError(ValueError):
    """A picture that `decoding` refuses as well."""


def decode(encoded: bytes) -> npt.NDArray[np.uint8]:
    """Decodes a picture as it is to be shown.

    Args:
      encoded: PNG or JPEG bytes.

    Returns:
      ``[height, width, 3]`` uint8, as `decoding.decode` returns it.

    Raises:
      UnreadablePictureError: not a PNG or JPEG, damaged, too large, or slow to decode.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, which are refused below
            if encoded.startswith(_PNG):
                return _decoded_png(encoded)
            if encoded.startswith(_JPEG):
                return _decoded_jpeg(encoded)
    except Image.DecompressionBombError as error:
        raise UnreadablePictureError(f"a picture must be {RULE}") from error
    except Exception as error:  # each decoder raises its own
        raise UnreadablePictureError(f"a picture must be {RULE}") from error
    raise UnreadablePictureError(f"a picture must be {RULE}")


def _decoded_png(encoded: bytes) -> npt.NDArray[np.uint8]:
    from PIL import Image

    texts = encoded.count(b"zTXt") + encoded.count(b"iTXt")
    with Image.open(io.BytesIO(encoded), formats=["PNG"]) as image:
        _require_bounded(image.size, is_quick=texts <= MAX_TEXTS)
        exif = image.info.get("exif")  # of chunks before the pixels
        image.load()
        return _turned(_flat(image), exif)


def _flat(image: "Image.Image") -> npt.NDArray[np.uint8]:
    """Colours as 8 bits, transparent pixels blended with white."""
    if image.mode.startswith("I"):  # grey of 16 bits; TensorFlow, too, drops the lower 8
        grey = np.asarray(image).astype(np.int64)
        key = image.info.get("transparency")
        level = (grey >> 8).astype(np.uint8)
        if isinstance(key, int):
            level = np.where(grey == key, np.uint8(_GROUND), level)
        return np.repeat(level[..., np.newaxis], 3, axis=2)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        wide = np.asarray(image.convert("RGBA")).astype(np.uint16)
        colours, alpha = wide[..., :3], wide[..., 3:]
        mixed = colours * alpha + np.uint16(_GROUND) * (255 - alpha)
        return ((mixed + 127) // 255).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def _decoded_jpeg(encoded: bytes) -> npt.NDArray[np.uint8]:
    from PIL import Image

    with Image.open(io.BytesIO(encoded), formats=["JPEG"]) as image:
        _require_bounded(image.size, is_quick=_is_quick(encoded, image))
        exif = image.info.get("exif")
        if image.mode == "CMYK":
            return _turned(_of_cmyk(np.asarray(image)), exif)
    import simplejpeg

    return _turned(simplejpeg.decode_jpeg(encoded, "RGB", fastdct=True, fastupsample=False), exif)


def _is_quick(encoded: bytes, image: "Image.Image") -> bool:
    scans = encoded.count(b"\xff\xda")
    few = scans <= MAX_SCANS and scans * image.width * image.height <= MAX_SCANNED_PIXELS
    return few or _has_one_scan(encoded, len(image.getbands()))


def _has_one_scan(encoded: bytes, components: int) -> bool:
    """Tests whether a JPEG is sequential and its first scan has all components, as `cost` does."""
    at, is_sequential = 2, False
    for _ in range(_MOST_SEGMENTS):
        marker = int.from_bytes(encoded[at : at + 2], "big")
        if marker == _START_OF_SCAN:
            return is_sequential and encoded[at + 4 : at + 5] == bytes([components])
        if marker < 0xFF00 or at >= len(encoded):
            return False
        is_sequential = marker in _SEQUENTIAL or is_sequential
        at += 1 if marker == 0xFFFF else 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return False


def _of_cmyk(inks: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """As TensorFlow mixes them; Pillow has turned the values so that 255 is full ink."""
    wide = 255 - inks.astype(np.int32)
    return (wide[..., :3] * wide[..., 3:] // 255).astype(np.uint8)


def _turned(pixels: npt.NDArray[np.uint8], exif: bytes | None) -> npt.NDArray[np.uint8]:
    orientation = _orientation(exif)
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _orientation(exif: bytes | None) -> int:
    """1 to 8; 1 where there is none, or what stands there cannot be read."""
    from PIL import Image

    if not exif:
        return 1
    try:
        tags = Image.Exif()
        tags.load(exif)
        value = tags.get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 (a picture is not refused for its EXIF)
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _require_bounded(size: tuple[int, int], *, is_quick: bool) -> None:
    width, height = size
    if not is_quick or width * height > MAX_PIXELS or max(size) > LARGEST_SIDE:
        raise UnreadablePictureError
