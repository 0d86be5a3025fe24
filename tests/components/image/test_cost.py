"""Pictures that are small files and slow to decode are refused before they are decoded."""

import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from helpers.encoded_pictures import encode, noise, with_chunks, with_segments
from inception_finetune.components.image import cost, decoding

DECODE = tf.function(decoding.decode, input_signature=[tf.TensorSpec([], tf.string)])
ARE_WHOLE = tf.function(decoding.are_whole)
COMMENT = (0xFE, b"no scan")


def jpeg(side: int, scans: int = 1, *, progressive: bool = True) -> bytes:
    """The last of its scans is there so many times."""
    flat = Image.fromarray(np.full((side, side, 3), 90, np.uint8))
    once = encode(flat, "JPEG", progressive=progressive)
    start, end = once.rindex(b"\xff\xda"), once.rindex(b"\xff\xd9")
    return once[:start] + once[start:end] * scans + once[end:]


def png(kind: bytes, count: int) -> bytes:
    packed = zlib.compress(bytes(7_000_000), 9)
    text = b"name\0\0" + packed if kind == b"zTXt" else b"name\0\1\0\0\0" + packed
    return with_chunks(encode(Image.fromarray(noise(8, 8, 3))), *[(kind, text)] * count)


def verdict(encoded: bytes) -> bool:
    """Of the decoder, and of the signatures that refuse single pictures; both must agree."""
    try:
        whole = DECODE(encoded).numpy().size > 0
    except tf.errors.InvalidArgumentError as error:
        assert f"a picture must be {decoding.RULE}" in error.message
        whole = False
    assert ARE_WHOLE(tf.constant([encoded])).numpy().tolist() == [whole]
    return whole


@pytest.mark.parametrize(
    "encoded",
    [
        jpeg(2048, 20_000),
        jpeg(8, 20_000),
        with_segments(jpeg(2048, 20_000), *[COMMENT] * 300),
        png(b"zTXt", 900),
        png(b"iTXt", 900),
        b"".join([png(b"zTXt", 1)[:-12], png(b"zTXt", 900)[33:]]),  # behind the pixels
    ],
    ids=["many scans", "few pixels", "far behind", "zTXt", "iTXt", "last"],
)
def test_what_takes_minutes_is_refused_at_once(encoded):
    assert verdict(jpeg(8))  # both are traced now
    started = time.process_time()
    assert not verdict(encoded)
    assert time.process_time() - started < 5


def test_bytes_are_taken_as_well():
    for encoded in (jpeg(8), png(b"zTXt", 1)):
        assert decoding.decode(encoded).shape == (8, 8, 3)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoding.decode(jpeg(8, 20_000))


def test_the_bounds_are_what_they_say(monkeypatch):
    side, scans = 64, 10
    ordinary = jpeg(side)
    assert ordinary.count(b"\xff\xda") == scans
    monkeypatch.setattr(cost, "MAX_SCANNED_PIXELS", scans * side**2)

    def is_quick(encoded):
        return bool(cost.is_quick_jpeg(tf.constant(encoded), tf.constant(side**2, tf.int64), 3))

    assert is_quick(ordinary) and not is_quick(jpeg(side, 2))
    for kind in (b"zTXt", b"iTXt"):
        assert bool(cost.is_quick_png(tf.constant(png(kind, cost.MAX_TEXTS))))
        assert not bool(cost.is_quick_png(tf.constant(png(kind, cost.MAX_TEXTS + 1))))


def test_a_film_behind_the_picture_of_a_phone_is_no_scan():
    film = b"\xff\xda" * 5000
    assert verdict(with_segments(jpeg(64, progressive=False), COMMENT) + film)
    assert not verdict(jpeg(64) + film)  # a decoder could go on to it


def test_a_scan_for_each_colour_may_be_followed_by_further_ones():
    """So its first one is not held to be the only one."""
    once = jpeg(64, progressive=False)
    start = once.rindex(b"\xff\xda")
    of_red = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"
    assert not verdict(once[:start] + of_red * 5000 + once[start:])


def test_what_encoders_write_is_quick():
    photo = Image.fromarray(noise(40, 30, 3)).resize((1200, 900))
    for options in ({"progressive": True}, {}, {"progressive": True, "subsampling": 0}):
        assert verdict(encode(photo, "JPEG", **options))
    assert verdict(with_chunks(encode(photo), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"x" * 9)))
