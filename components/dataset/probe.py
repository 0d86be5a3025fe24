"""Probes an image by decoding it as training will: its properties, or why it is rejected."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from inception_finetune.components.dataset import changes
from inception_finetune.components.dataset.picture_formats import as_png_or_jpeg

LARGEST_FILE: Final = 1 << 28  # bytes; more than any picture that is read needs
FILE_TOO_LARGE: Final = f"the file is larger than {LARGEST_FILE:,} bytes"
_PNG: Final = b"\x89PNG"
_OPAQUE: Final = 65535
_SPREAD: Final = 257  # a value of 8 bits, times this, is the same one of 16


class ImageInfo(NamedTuple):
    """Properties of a readable image."""

    format: str  # "png" or "jpeg"
    height: int  # pixels, as it is shown
    width: int
    digest: bytes  # of what the file holds to be shown: the same however that is encoded
    changes: tuple[str, ...] = ()  # what training sees otherwise than the file has it
    blank: bool = False  # all pixels, as training sees them, have one colour


def probe_image(encoded: bytes) -> ImageInfo | str:
    """Decodes an image and returns its properties, or the reason to reject it.

    An image in another format than PNG and JPEG is decoded as it is stored, and has the properties
    of that. Threads may call it concurrently.

    Args:
      encoded: content of a file.
    """
    import tensorflow as tf  # seconds, which an archive of bare pixels need not pay

    from inception_finetune.components.image import decoding, exif

    stored = as_png_or_jpeg(encoded)
    if isinstance(stored, str):
        return stored
    encoded = stored.encoded
    try:
        pixels, head = _decoder()(encoded)
    except tf.errors.InvalidArgumentError:
        return f"it is not {decoding.RULE} ({len(encoded)} B)"
    content = pixels = pixels.numpy()
    kinds = list(stored.changes)
    if head.orientation != exif.UPRIGHT:
        kinds.append(changes.TURNED)
    if head.has_alpha or head.is_deep:
        content, content_kinds = _shown_content(
            _decoder_of_all()(encoded, head.orientation).numpy(), pixels
        )
        kinds += content_kinds
    if head.is_animated:
        kinds.append(changes.FIRST_OF_MANY)
    if head.is_cmyk:
        kinds.append(changes.FROM_CMYK)
    height, width, _ = pixels.shape
    digest = hashlib.sha256(f"{height}x{width}".encode())
    digest.update(np.ascontiguousarray(content).data)
    kind = "png" if encoded.startswith(_PNG) else "jpeg"
    blank = bool((pixels == pixels[:1, :1]).all())
    return ImageInfo(kind, height, width, digest.digest(), tuple(kinds), blank)


def decode_pixels(encoded: bytes) -> npt.NDArray[np.uint8]:
    """Decodes a readable PNG or JPEG as training sees it: [height, width, 3] uint8."""
    pixels: npt.NDArray[np.uint8] = _decoder()(encoded)[0].numpy()
    return pixels


def _shown_content(
    values: npt.NDArray[np.uint16], pixels: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint8] | npt.NDArray[np.uint16], list[str]]:
    """Reduces all that is to be shown to as few bits and channels as hold it.

    Args:
      values: ``[height, width, 4]``, colours and alpha.
      pixels: ``[height, width, 3]``, what training sees.

    Returns:
      The content, and the kinds of changes that training makes to it.
    """
    kinds = []
    colours, alpha = values[..., :3], values[..., 3:]
    if (alpha == _OPAQUE).all():
        values = colours
    else:
        colours *= alpha > 0  # the colour of what is not to be seen
        kinds.append(changes.ON_WHITE)
        if (pixels == pixels[:1, :1]).all():
            kinds.append(changes.BLANK_ON_WHITE)
    if not (values % _SPREAD).any():
        return (values // _SPREAD).astype(np.uint8), kinds
    if ((colours & 0xFF != 0) & (colours % _SPREAD != 0)).any():
        kinds.append(changes.REDUCED)
        if len(np.unique(colours >> 8)) <= changes.FEW_LEVELS:
            kinds.append(changes.FEW_LEVELS_LEFT)
    return values, kinds


@cache
def _decoder() -> Callable[[bytes], tuple]:
    import tensorflow as tf

    from inception_finetune.components.image import decoding

    encoded = tf.TensorSpec([], tf.string)
    return tf.function(decoding.decode_with_head, input_signature=[encoded])


@cache
def _decoder_of_all() -> Callable:
    import tensorflow as tf

    from inception_finetune.components.image import decoding

    signature = [tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32)]
    return tf.function(decoding.decode_all, input_signature=signature)
