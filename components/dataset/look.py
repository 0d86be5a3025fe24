"""What a picture is found to be when it is decoded, as training will, or why it is none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

LARGEST_FILE: Final = 1 << 28  # bytes; more than any picture that is read needs
FILE_RULE: Final = f"a picture's file has at most {LARGEST_FILE:,} bytes"
_PNG: Final = b"\x89PNG"


class Seen(NamedTuple):
    """A whole picture."""

    format: str  # "png" or "jpeg"
    height: int  # pixels
    width: int
    digest: bytes  # of its pixels: the same however they are encoded


def look(encoded: bytes) -> Seen | str:
    """What the picture is, or the rule that it breaks. Threads may call it side by side."""
    import tensorflow as tf  # seconds, which an archive of bare pixels need not pay

    from components import picture

    try:
        pixels = _decoder()(encoded).numpy()
    except tf.errors.InvalidArgumentError:
        return f"a picture is {picture.RULE}, here it is another file ({len(encoded)} B)"
    height, width, _ = pixels.shape
    digest = hashlib.sha256(f"{height}x{width}".encode())
    digest.update(pixels)
    kind = "png" if encoded.startswith(_PNG) else "jpeg"
    return Seen(kind, height, width, digest.digest())


@cache
def _decoder() -> Callable:
    import tensorflow as tf

    from components import picture

    return tf.function(picture.decode, input_signature=[tf.TensorSpec([], tf.string)])
