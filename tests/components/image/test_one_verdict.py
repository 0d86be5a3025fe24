"""Whatever TensorFlow's decoder takes is shown: conversion, pages, drift and grids agree."""

import io
import struct
import zlib

from PIL import Image

from helpers.encoded_pictures import encode, with_chunks
from helpers.mutated import PHOTO, mutated_pictures
from helpers.one_verdict import one_verdict

XMP = b"XML:com.adobe.xmp\0\0\0\0\0" + b"<rdf>" * 240_000  # 1.2 MB, as Photoshop writes it


def behind_the_pixels(png: bytes, kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return png[:-12] + struct.pack(">I", len(data)) + kind + data + checksum + png[-12:]


ODD = [
    with_chunks(encode(PHOTO), (b"iTXt", XMP)),
    behind_the_pixels(encode(PHOTO), b"gAMA", b"\0\0"),
]


def pillow_takes(encoded: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
    except Exception:
        return False
    return True


def test_all_who_look_at_a_picture_agree():
    files = [*ODD, *mutated_pictures(200)]
    whole = one_verdict(files)
    assert whole[: len(ODD)].all() and 20 < whole.sum() < len(files)
    taken = [one for one, is_whole in zip(files, whole, strict=True) if is_whole]
    assert not all(map(pillow_takes, taken))  # Pillow's own verdict is another
