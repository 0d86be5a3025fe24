"""What a picture may be, in graph form: the one decoder of training, gate and served model."""

from typing import Final

import tensorflow as tf

from components import features

# More than any phone's camera but few; 200 MB as uint8. A header alone can promise 2**62.
MAX_PIXELS: Final = 2**26
RULE: Final = f"a whole PNG or JPEG of at most {MAX_PIXELS:,} pixels"
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"  # https://www.w3.org/TR/png-3/#3PNGsignature


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Encoded PNG or JPEG bytes (scalar) to ``[height, width, 3]`` uint8.

    Grey is repeated over the channels, palettes become colours, CMYK becomes RGB, 16 bits lose
    the lower 8, an alpha channel is dropped. Of an animated PNG the first picture counts. EXIF's
    orientation does not: a picture is to the served model what it was in training.

    Raises:
      tf.errors.InvalidArgumentError: not PNG or JPEG, damaged, or more than MAX_PIXELS; what the
        header promises is checked before memory is taken for it.
    """
    height, width = _sides(encoded)
    in_bounds = tf.debugging.Assert(
        (height > 0) & (width > 0) & (height * width <= MAX_PIXELS),
        [f"a picture must be {RULE}; height and width are", height, width],
    )
    with tf.control_dependencies([in_bounds] if in_bounds is not None else []):
        encoded = tf.identity(encoded)
    image = tf.io.decode_image(encoded, channels=features.CHANNELS, expand_animations=False)
    image.set_shape([None, None, features.CHANNELS])
    return image


def are_whole(encoded: tf.Tensor) -> tf.Tensor:
    """Which of ``[B]`` encoded pictures `decode` can read: ``[B]`` bool. Never an error."""
    count = tf.size(encoded)
    readable = (
        tf.data.Dataset.from_tensor_slices((tf.range(count), encoded))
        .map(lambda index, one: (index, tf.size(decode(one))), num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
    )
    return readable.reduce(
        tf.zeros([count], tf.bool),
        lambda whole, found: tf.tensor_scatter_nd_update(whole, [[found[0]]], [found[1] > 0]),
    )


def _sides(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width, int64 scalars, as the header has them; an error without a header."""
    signature = tf.strings.substr(encoded, 0, len(_PNG_SIGNATURE))
    # IHDR is the first chunk: width and height are its first 8 bytes, or 0 where the file ends
    # before. TensorFlow's own error would quote the bytes, which Python cannot read as UTF-8.
    header = tf.strings.join([tf.strings.substr(encoded, 0, 24), "\0" * 24])
    sides = tf.cond(
        signature == _PNG_SIGNATURE,
        lambda: tf.io.decode_raw(tf.strings.substr(header, 16, 8), tf.int32, little_endian=False)[
            ::-1
        ],
        lambda: tf.image.extract_jpeg_shape(encoded)[:2],
    )
    height, width = tf.unstack(tf.cast(tf.ensure_shape(sides, [2]), tf.int64))
    return height, width
