"""EXIF's orientation in graph form: finding it in a JPEG, reading it, and turning an image by it.

https://www.cipa.jp/e/std/std-sec.html: Exif 3.0, whose directory is TIFF's. EXIF that cannot be
read counts as missing: no image is refused for its EXIF.
"""

from typing import Final

import tensorflow as tf

UPRIGHT: Final = 1  # of eight orientations the one that no EXIF means
_PREFIX: Final = b"Exif\0\0"
_TAG, _SHORT = 0x0112, 3  # of the directory's entry, and the type of its value
_ENTRY: Final = 12  # bytes
_TRANSPOSED: Final = (5, 6, 7, 8)  # to show it, rows become columns, and then
_MIRRORED: Final = (2, 3, 6, 7)  # left becomes right,
_FLIPPED: Final = (3, 4, 7, 8)  # top becomes bottom

# https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.1
_APP1: Final = 0xFFE1
_FILL: Final = 0xFFFF
_ALONE: Final = (0xFF01, *range(0xFFD0, 0xFFD9))  # markers that no length follows
_LAST: Final = (0xFFD9, 0xFFDA)  # the end, and the pixels
_LONGEST: Final = 1 << 16  # bytes of a JPEG's segment; EXIF that begins later is not looked for
MOST_STEPS: Final = 256  # through the segments or chunks of a file


def of_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    """Reads the orientation from the first EXIF segment before a JPEG's pixels.

    Args:
      encoded: scalar string, JPEG bytes.

    Returns:
      int32 scalar from 1 to 8; 1 where there is no EXIF.
    """
    # Most pictures have none. The walk takes as long as decoding a small picture, this does not.
    head = tf.strings.substr(encoded, 0, _LONGEST)
    return tf.cond(
        tf.strings.regex_full_match(head, r"\C*Exif\x00\x00\C*"),
        lambda: of_exif(_exif_segment(encoded)),
        lambda: tf.constant(UPRIGHT),
    )


def of_exif(data: tf.Tensor) -> tf.Tensor:
    """Reads the orientation from EXIF data, as a JPEG's segment or a PNG's chunk holds it.

    Args:
      data: scalar string, with or without the prefix ``Exif``.

    Returns:
      int32 scalar from 1 to 8; 1 where there is none.
    """
    prefixed = tf.strings.substr(data, 0, len(_PREFIX)) == _PREFIX
    tiff = tf.strings.substr(data, tf.where(prefixed, len(_PREFIX), 0), _LONGEST)
    little = tf.strings.substr(tiff, 0, 4) == b"II*\0"
    big = tf.strings.substr(tiff, 0, 4) == b"MM\0*"

    def numbers(part: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        ends = [tf.io.decode_raw(part, dtype, little_endian=end) for end in (True, False)]
        return tf.where(little, *(tf.cast(one, tf.int32) for one in ends))

    def part(at: tf.Tensor, length: tf.Tensor, unit: int) -> tf.Tensor:
        """What lies there, as many whole units as there are."""
        size = tf.strings.length(tiff)
        at = tf.where(at < 0, size, tf.minimum(at, size))
        return tf.strings.substr(tiff, at, tf.minimum(length, size - at) // unit * unit)

    def first(values: tf.Tensor, otherwise: int) -> tf.Tensor:
        return tf.concat([values, [otherwise]], axis=0)[0]

    directory = first(numbers(part(4, 4, 4), tf.int32), 0)
    count = first(numbers(part(directory, 2, 2), tf.uint16), 0)
    entries = numbers(part(directory + 2, _ENTRY * count, _ENTRY), tf.uint16)
    # Two bytes each: tag, type, two of the number of values, two of the value.
    tag, kind, one, more, value, _ = tf.unstack(tf.reshape(entries, [-1, _ENTRY // 2]), axis=1)
    valid = (tag == _TAG) & (kind == _SHORT) & (one + more == 1) & (value >= 1) & (value <= 8)
    return tf.where(little | big, first(tf.boolean_mask(value, valid), UPRIGHT), UPRIGHT)


def turn(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors an image so that it is upright.

    Args:
      image: ``[height, width, channels]``.
      orientation: int32 scalar, EXIF's orientation from 1 to 8.

    Returns:
      ``[height, width, channels]``, with height and width swapped for orientations 5 to 8.
    """
    swapped, mirrored, flipped = (
        tf.reduce_any(orientation == which) for which in (_TRANSPOSED, _MIRRORED, _FLIPPED)
    )
    shown = tf.transpose(image, tf.where(swapped, [1, 0, 2], [0, 1, 2]))
    steps = tf.where(tf.stack([flipped, mirrored]), -1, 1)
    return shown[:: steps[0], :: steps[1]]


def segment(encoded: tf.Tensor, at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Reads what stands at a place of a JPEG before its pixels.

    Args:
      encoded: scalar string, JPEG bytes.
      at: int32 scalar, where a marker is expected, in bytes.

    Returns:
      Marker and length of the segment, and where the next one begins: int32 scalars. The last is
      the size of the file behind the last segment before the pixels, and where there is no marker.
    """
    size = tf.strings.length(encoded)
    four = tf.io.decode_raw(
        tf.strings.substr(encoded, at, 4), tf.uint16, little_endian=False, fixed_length=4
    )
    marker, length = tf.unstack(tf.cast(four, tf.int32))
    alone = tf.reduce_any(marker == _ALONE)
    ends = (marker < 0xFF00) | tf.reduce_any(marker == _LAST) | ((length < 2) & ~alone)
    further = tf.where(marker == _FILL, 1, tf.where(alone, 2, 2 + length))
    return marker, length, tf.where(ends, size, tf.minimum(at + further, size))


def _exif_segment(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the segment's data, beginning with the prefix; empty if there is none."""
    size = tf.strings.length(encoded)

    def step(at: tf.Tensor, is_exif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        marker, _, after = segment(encoded, at)
        data = tf.minimum(at + 4, size)
        is_exif = (marker == _APP1) & (tf.strings.substr(encoded, data, len(_PREFIX)) == _PREFIX)
        return tf.where(is_exif, at, after), is_exif

    at, is_exif = tf.while_loop(
        lambda at, is_exif: ~is_exif & (at < size),
        step,
        (tf.constant(2), tf.constant(False)),  # behind the marker that every JPEG begins with
        maximum_iterations=MOST_STEPS,
        parallel_iterations=1,
    )
    length = tf.where(is_exif, segment(encoded, at)[1] - 2, 0)
    return tf.strings.substr(encoded, tf.minimum(at + 4, size), length)
