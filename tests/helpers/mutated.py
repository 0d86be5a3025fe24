"""Whole files with a few bytes changed."""

import random

from PIL import Image

from helpers.encoded_pictures import encode, exif_of, noise, transparent

PHOTO = Image.fromarray(noise(6, 5, 3)).resize((20, 15))
PICTURES = [
    encode(PHOTO),
    encode(PHOTO, exif=exif_of(3)),
    encode(PHOTO, "JPEG", exif=exif_of(6)),
    encode(PHOTO, "JPEG", progressive=True),
    transparent("P"),
]


def mutate(data: bytes, generator: random.Random) -> bytes:
    """One bit changed, a few bytes left out, or a few of them there twice."""
    changed = bytearray(data)
    at = generator.randrange(len(changed))
    match generator.randrange(3):
        case 0:
            changed[at] ^= 1 << generator.randrange(8)
        case 1:
            del changed[at : at + generator.randrange(1, 20)]
        case 2:
            changed[at:at] = changed[at // 2 : at // 2 + generator.randrange(1, 30)]
    return bytes(changed)


def mutated_pictures(count: int, seed: int = 0) -> list[bytes]:
    generator = random.Random(seed)
    return [mutate(PICTURES[number % len(PICTURES)], generator) for number in range(count)]
