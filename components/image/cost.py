"""Whether a picture is quick to decode, read off its file before any of it is decoded.

Small files can take minutes: a JPEG may go over all its pixels in thousands of scans, and each
compressed text of a PNG may unpack to 8 MB.
"""

from typing import Final

import tensorflow as tf

from inception_finetune.components.image import exif

# Some 3 s of a core. Encoders write about 10 scans, which the largest picture may have as well.
MAX_SCANNED_PIXELS: Final = 2**30
MAX_SCANS: Final = 1000  # however few pixels there are
MAX_TEXTS: Final = 32  # compressed texts of a PNG, some 2 s of a core

# https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.1 and B.2
_SCAN: Final = b"\xff\xda"
_START_OF_SCAN: Final = int.from_bytes(_SCAN, "big")
_SEQUENTIAL: Final = (0xFFC0, 0xFFC1)  # frames whose pixels may come in one scan
# https://www.w3.org/TR/png-3/: 11.3.3. iTXt is compressed where it says so.
_TEXTS: Final = (b"zTXt", b"iTXt")


def is_quick_jpeg(encoded: tf.Tensor, pixels: tf.Tensor, components: tf.Tensor) -> tf.Tensor:
    """Tests whether few enough scans go over a JPEG's pixels.

    Args:
      encoded: scalar string, JPEG bytes.
      pixels: int64 scalar, height times width.
      components: int32 scalar, 1, 3 or 4.

    Returns:
      bool scalar.
    """
    # More than there are, where the same two bytes stand in a preview or behind the picture.
    scans = _occurrences(encoded, _SCAN, MAX_SCANS + 1)
    few = (scans <= MAX_SCANS) & (tf.cast(scans, tf.int64) * pixels <= MAX_SCANNED_PIXELS)
    return tf.cond(few, lambda: tf.constant(True), lambda: _has_one_scan(encoded, components))


def is_quick_png(encoded: tf.Tensor) -> tf.Tensor:
    """Tests whether a PNG has few enough texts that may be compressed.

    Args:
      encoded: scalar string, PNG bytes.

    Returns:
      bool scalar.
    """
    return tf.add_n([_occurrences(encoded, kind, MAX_TEXTS + 1) for kind in _TEXTS]) <= MAX_TEXTS


def _occurrences(encoded: tf.Tensor, part: bytes, most: int) -> tf.Tensor:
    """Counts `part`, as far as `most`: int32 scalar."""
    pieces = tf.raw_ops.StringSplitV2(input=[encoded], sep=part, maxsplit=most)
    return tf.size(pieces.values) - 1


def _has_one_scan(encoded: tf.Tensor, components: tf.Tensor) -> tf.Tensor:
    """Tests whether a JPEG is sequential and its first scan has all components.

    No decoder then goes on to a further scan, whatever follows, such as a phone's film.
    """
    size = tf.strings.length(encoded)

    def step(at: tf.Tensor, frame: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
        marker, _, after = exif.segment(encoded, at)
        frame = tf.where(tf.reduce_any(marker == _SEQUENTIAL), marker, frame)
        found = tf.where(marker == _START_OF_SCAN, at, size)
        return tf.where(marker == _START_OF_SCAN, size, after), frame, found

    _, frame, found = tf.while_loop(
        lambda at, *_: at < size,
        step,
        (tf.constant(2), tf.constant(0), size),  # behind the marker that every JPEG begins with
        maximum_iterations=exif.MOST_STEPS,
        parallel_iterations=1,
    )
    count = tf.strings.substr(encoded, tf.minimum(found + 4, size), 1)  # behind marker and length
    in_scan = tf.cast(tf.io.decode_raw(count, tf.uint8, fixed_length=1)[0], tf.int32)
    return (frame > 0) & (in_scan == components)
