"""Whatever TensorFlow's decoder takes is shown: conversion, pages, drift and grids agree."""

import io
import random
import struct
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image

from helpers.encoded_pictures import encode, exif_of, noise, transparent, with_chunks
from inception_finetune.components.dataset.probe import decode_pixels, probe_image
from inception_finetune.components.drift import pictures
from inception_finetune.components.image import decoding
from inception_finetune.components.web_page.data_address import data_address

PHOTO = Image.fromarray(noise(6, 5, 3)).resize((20, 15))
XMP = b"XML:com.adobe.xmp\0\0\0\0\0" + b"<rdf>" * 240_000  # 1.2 MB, as Photoshop writes it


def behind_the_pixels(png: bytes, kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return png[:-12] + struct.pack(">I", len(data)) + kind + data + checksum + png[-12:]


ODD = [
    with_chunks(encode(PHOTO), (b"iTXt", XMP)),
    behind_the_pixels(encode(PHOTO), b"gAMA", b"\0\0"),
]


def mutated(count: int) -> list[bytes]:
    files = [
        encode(PHOTO),
        encode(PHOTO, exif=exif_of(3)),
        encode(PHOTO, "JPEG", exif=exif_of(6)),
        encode(PHOTO, "JPEG", progressive=True),
        transparent("P"),
    ]
    generator = random.Random(0)
    made = []
    for number in range(count):
        data = bytearray(files[number % len(files)])
        at = generator.randrange(len(data))
        match generator.randrange(3):
            case 0:
                data[at] ^= 1 << generator.randrange(8)
            case 1:
                del data[at : at + generator.randrange(1, 20)]
            case 2:
                data[at:at] = data[at // 2 : at // 2 + generator.randrange(1, 30)]
        made.append(bytes(data))
    return made


def pillow_takes(encoded: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
    except Exception:
        return False
    return True


def test_all_who_look_at_a_picture_agree():
    files = [*ODD, *mutated(200)]
    whole = tf.function(decoding.are_whole)(tf.constant(files)).numpy()
    assert whole[: len(ODD)].all() and 20 < whole.sum() < len(files)
    probed = [not isinstance(probe_image(one), str) for one in files]
    np.testing.assert_array_equal(probed, whole)
    taken = [one for one, is_whole in zip(files, whole, strict=True) if is_whole]
    assert not all(map(pillow_takes, taken))  # Pillow's own verdict is another
    for one in taken:
        pixels = decode_pixels(one)
        assert data_address(one, 8).startswith("data:image/png;base64,")
        measured = pictures.measure([one], lambda n, note="": None)
        assert measured.readable.tolist() == [True]
        assert measured.statistics[0, :2].tolist() == [pixels.shape[1], pixels.shape[0]]
    refused = [one for one, is_whole in zip(files, whole, strict=True) if not is_whole]
    assert not pictures.measure(refused, lambda n, note="": None).readable.any()
