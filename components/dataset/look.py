"""What a picture is found to be when it is decoded, as training will, or why it is none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LARGEST_FILE: Final = 1 << 28  # bytes; more than any picture that is read needs
FILE_RULE: Final = f"a picture's file has at most {LARGEST_FILE:,} bytes"
_PNG: Final = b"\x89PNG"


class Seen(NamedTuple):
    """A whole picture."""

    format: str  # "png" or "jpeg"
    height: int  # pixels
    width: int
    digest: bytes  # of its pixels: the same however they are encoded
    blank: bool = False  # all pixels have one colour


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
    blank = bool((pixels == pixels[:1, :1]).all())
    return Seen(kind, height, width, digest.digest(), blank)


def pixels_of(encoded: bytes) -> npt.NDArray[np.uint8]:
    """[height, width, 3] of a whole picture, as training sees it."""
    pixels: npt.NDArray[np.uint8] = _decoder()(encoded).numpy()
    return pixels


@cache
def _decoder() -> Callable:
    import tensorflow as tf

    from components import picture

    return tf.function(picture.decode, input_signature=[tf.TensorSpec([], tf.string)])
