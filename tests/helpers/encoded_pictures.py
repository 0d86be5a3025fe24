"""PNG and JPEG files with what decoders forget: EXIF, transparency, 16 bits."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def noise(*shape: int, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def encode(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def exif_of(orientation: int, endian: str = "<") -> bytes:
    made = Image.Exif()
    made.endian = endian
    made[271], made[274], made[305] = "maker", orientation, "software"
    return made.tobytes()


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Between the header and what follows it."""
    made = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return png[:33] + made + png[33:]


def with_segments(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    made = b"".join(
        bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data for marker, data in segments
    )
    return jpeg[:2] + made + jpeg[2:]


def transparent(mode: str) -> bytes:
    rgba = Image.fromarray(noise(16, 16, 4))
    if mode in ("RGBA", "LA"):
        return encode(rgba.convert(mode))
    if mode == "P":
        return encode(rgba.convert("RGB").quantize(16), transparency=bytes(range(0, 256, 16)))
    few = noise(16, 16, 3) % 2
    if mode == "L":
        return encode(Image.fromarray(few[..., 0]), transparency=1)
    return encode(Image.fromarray(few), transparency=(0, 1, 0))


def deep(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a value: grey, grey with alpha, RGB or RGBA by its channels."""
    height, width, channels = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
    start += struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return start + with_chunks(b"", (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
