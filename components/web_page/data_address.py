"""Pictures inside a page, as small copies."""

import base64
import io

from PIL import Image

from inception_finetune.components.image.decoding import decode

# Up to this side, a picture is kept without loss: JPEG would smear what pixels there are.
_LOSSLESS = 48
_JPEG_QUALITY = 85


def data_address(encoded: bytes, size: int) -> str:
    """A `data:` address of the picture, made smaller where a side is longer than `size`."""
    small = Image.fromarray(decode(encoded).numpy())  # as the model sees it
    small.thumbnail((size, size))
    kind = "PNG" if max(small.size) <= _LOSSLESS else "JPEG"
    buffer = io.BytesIO()
    small.save(buffer, kind, optimize=True, quality=_JPEG_QUALITY)  # PNG has no quality
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def is_lossless(address: str) -> bool:
    """Whether it is of a small picture, whose pixels are worth to be seen."""
    return address.startswith("data:image/png")
