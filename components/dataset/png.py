"""A PNG encoder for small images, on which image libraries spend more time than on the pixels."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

# https://www.w3.org/TR/png-3/: signature, header, data, end.
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_EIGHT_BIT_RGB: Final = bytes([8, 2, 0, 0, 0])  # depth, colour, deflate, filters, no interlace
_FILTER_UP: Final = 2  # each byte less the one above it
# Level 6 takes 14 % longer and makes CIFAR-10's pictures 0.6 % smaller.
_COMPRESSION_LEVEL: Final = 1


def encode_png(image: npt.NDArray[np.uint8]) -> bytes:
    """Encodes a [height, width, 3] uint8 image as PNG, without loss.

    On CIFAR-10's 32 x 32 pixels twice as fast as Pillow and TensorFlow; 11 % larger, since all rows
    take the same filter.
    """
    height, width, channels = image.shape
    pixels = image.reshape(height, width * channels)
    rows = np.empty((height, 1 + width * channels), np.uint8)
    rows[:, 0] = _FILTER_UP
    rows[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])  # modulo 256, as the filter demands
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">II", width, height) + _EIGHT_BIT_RGB),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), _COMPRESSION_LEVEL)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
