"""Decoding of images in graph form: the one decoder of training, gate and served model."""

from typing import Final, NamedTuple

import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.components.image import cost, exif

# More than any phone's camera but few; 200 MB as uint8. A header alone can promise 2**62.
MAX_PIXELS: Final = 2**26
RULE: Final = f"a whole PNG or JPEG of at most {MAX_PIXELS:,} pixels, with few scans and texts"
GROUND: Final = 255  # of all channels: white, which shows through what is transparent

# https://www.w3.org/TR/png-3/: 5.2 signature, 11.2.1 IHDR, 13 what chunks may stand before IDAT.
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_SIDES, _DEPTH, _COLOUR, _FIRST_CHUNK = 16, 24, 25, 33  # where they stand, in bytes
_DEEP: Final = 16  # bits
_WITH_ALPHA: Final = (4, 6)  # values of the colour type
_PIXELS, _TRANSPARENCY, _EXIF, _ANIMATION = (
    int.from_bytes(name, "big") for name in (b"IDAT", b"tRNS", b"eXIf", b"acTL")
)
_FOUR: Final = 4  # channels: with alpha; CMYK


class Head(NamedTuple):
    """Properties of an image that its file declares before the pixels; all are scalars."""

    orientation: tf.Tensor  # int32, 1 to 8
    has_alpha: tf.Tensor  # bool: some of it may be transparent
    is_deep: tf.Tensor  # bool: 16 bits a value
    is_animated: tf.Tensor  # bool
    is_cmyk: tf.Tensor  # bool


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes an image as it is to be shown.

    EXIF's orientation is applied, and transparent pixels are blended with white. Grey is repeated
    over the channels, palettes become colours, CMYK becomes RGB, and 16 bits lose the lower 8. Of
    an animated PNG the first image is taken.

    Args:
      encoded: scalar string, PNG or JPEG bytes.

    Returns:
      ``[height, width, 3]`` uint8.

    Raises:
      tf.errors.InvalidArgumentError: not a PNG or JPEG, damaged, more than MAX_PIXELS, or slow to
        decode (`cost`). All but damage is found before memory is allocated for the pixels.
    """
    return decode_with_head(encoded)[0]


def decode_with_head(encoded: tf.Tensor) -> tuple[tf.Tensor, Head]:
    """As `decode`; also returns what the file declares about the image."""
    encoded = _in_bounds(encoded)
    head = _head(encoded)

    def as_stored() -> tf.Tensor:
        return _as_stored(encoded)

    def as_shown() -> tf.Tensor:
        return exif.turn(
            tf.cond(
                head.has_alpha,
                lambda: _on_ground(tf.io.decode_png(encoded, channels=_FOUR)),
                as_stored,
            ),
            head.orientation,
        )

    # One condition for most pictures: none of the two behind it is then evaluated.
    plain = (head.orientation == exif.UPRIGHT) & ~head.has_alpha
    image = tf.cond(plain, as_stored, as_shown)
    image.set_shape([None, None, features.CHANNELS])
    return image, head


def decode_all(encoded: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Decodes all channels and bits of a PNG that `decode` can read.

    Args:
      encoded: scalar string, PNG bytes.
      orientation: int32 scalar, EXIF's orientation from 1 to 8.

    Returns:
      ``[height, width, 4]`` uint16, turned upright. The last channel is alpha; values of fewer bits
      are scaled to 0 to 65535.
    """
    return exif.turn(tf.io.decode_png(encoded, channels=_FOUR, dtype=tf.uint16), orientation)


def are_whole(encoded: tf.Tensor) -> tf.Tensor:
    """Tests which images `decode` can read, without ever raising an error.

    Args:
      encoded: ``[B]`` strings.

    Returns:
      ``[B]`` bool.
    """
    count = tf.size(encoded)

    # tf.data prepares the function anew at each call, which for all of `decode` takes ten times as
    # long. What is left out, EXIF and transparency, is no reason to refuse a picture.
    def read(index: tf.Tensor, one: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index, tf.size(_as_stored(_in_bounds(one)))

    readable = (
        tf.data.Dataset.from_tensor_slices((tf.range(count), encoded))
        .map(read, num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
    )
    return readable.reduce(
        tf.zeros([count], tf.bool),
        lambda whole, item: tf.tensor_scatter_nd_update(whole, [[item[0]]], [item[1] > 0]),
    )


def _in_bounds(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the same bytes; fails if they are no image, or one too large or slow to decode."""
    height, width, is_quick = tf.cond(
        _is_png(encoded), lambda: _png_bounds(encoded), lambda: _jpeg_bounds(encoded)
    )
    in_bounds = tf.debugging.Assert(
        (height > 0) & (width > 0) & (height * width <= MAX_PIXELS) & is_quick,
        [f"a picture must be {RULE}; height and width are", height, width],
    )
    with tf.control_dependencies([in_bounds] if in_bounds is not None else []):
        return tf.identity(encoded)


def _png_bounds(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    width, height = tf.unstack(tf.cast(_two_numbers(encoded, _SIDES), tf.int64))
    return height, width, cost.is_quick_png(encoded)


def _jpeg_bounds(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    shape = tf.ensure_shape(tf.image.extract_jpeg_shape(encoded), [3])
    height, width, _ = tf.unstack(tf.cast(shape, tf.int64))
    return height, width, cost.is_quick_jpeg(encoded, height * width, shape[2])


def _as_stored(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes the pixels as they are stored, without their alpha."""
    return tf.io.decode_image(encoded, channels=features.CHANNELS, expand_animations=False)


def _on_ground(image: tf.Tensor) -> tf.Tensor:
    """Blends ``[height, width, 4]`` uint8 with white; opaque pixels stay as they are."""
    wide = tf.cast(image, tf.uint16)  # no product below needs more
    colours, alpha = wide[..., : features.CHANNELS], wide[..., features.CHANNELS :]
    opaque = tf.constant(255, tf.uint16)
    mixed = colours * alpha + tf.constant(GROUND, tf.uint16) * (opaque - alpha)
    return tf.cast((mixed + opaque // 2) // opaque, tf.uint8)  # to the nearest


def _head(encoded: tf.Tensor) -> Head:
    return Head(*tf.cond(_is_png(encoded), lambda: _png_head(encoded), lambda: _jpeg_head(encoded)))


def _is_png(encoded: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(encoded, 0, len(_PNG_SIGNATURE)) == _PNG_SIGNATURE


def _jpeg_head(encoded: tf.Tensor) -> Head:
    no = tf.constant(False)
    return Head(
        orientation=exif.of_jpeg(encoded),
        has_alpha=no,
        is_deep=no,
        is_animated=no,
        is_cmyk=tf.image.extract_jpeg_shape(encoded)[2] == _FOUR,
    )


def _png_head(encoded: tf.Tensor) -> Head:
    # Zeros where the file ends before: TensorFlow's own error would quote the bytes, which Python
    # cannot read as UTF-8.
    begins = tf.strings.substr(encoded, 0, _FIRST_CHUNK)
    header = tf.io.decode_raw(begins, tf.uint8, fixed_length=_FIRST_CHUNK)
    # Most have no other chunk before the pixels, and need no walk.
    transparency, orientation, is_animated = tf.cond(
        _two_numbers(encoded, _FIRST_CHUNK)[1] == _PIXELS,
        lambda: (tf.constant(False), tf.constant(exif.UPRIGHT), tf.constant(False)),
        lambda: _from_chunks(encoded),
    )
    return Head(
        orientation=orientation,
        has_alpha=tf.reduce_any(header[_COLOUR] == _WITH_ALPHA) | transparency,
        is_deep=header[_DEPTH] == _DEEP,
        is_animated=is_animated,
        is_cmyk=tf.constant(False),
    )


def _from_chunks(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Reads transparency, orientation and animation from the chunks before the pixels."""
    size = tf.cast(tf.strings.length(encoded), tf.int64)
    wanted = tf.constant([_TRANSPARENCY, _EXIF, _ANIMATION])

    def step(at: tf.Tensor, kind: tf.Tensor, places: tf.Tensor) -> tuple[tf.Tensor, ...]:
        length, kind = tf.unstack(_two_numbers(encoded, at))
        places = tf.where((kind == wanted) & (places == 0), at, places)
        after = at + 12 + tf.cast(length, tf.int64)  # with length, kind and checksum
        return tf.where(length < 0, size, tf.minimum(after, size)), kind, places

    _, last, places = tf.while_loop(
        lambda at, kind, _: (kind != _PIXELS) & (at < size),
        step,
        (tf.constant(_FIRST_CHUNK, tf.int64), tf.constant(0), tf.zeros([3], tf.int64)),
        maximum_iterations=exif.MOST_STEPS,
        parallel_iterations=1,
    )
    transparency, at, animation = tf.unstack(places)
    orientation = tf.cond(
        at > 0,
        lambda: exif.of_exif(
            tf.strings.substr(encoded, at + 8, tf.cast(_two_numbers(encoded, at)[0], tf.int64))
        ),
        lambda: tf.constant(exif.UPRIGHT),
    )
    # Where so many chunks stand before the pixels that not all were seen, one may have been tRNS.
    return (transparency > 0) | (last != _PIXELS), orientation, animation > 0


def _two_numbers(encoded: tf.Tensor, at: int | tf.Tensor) -> tf.Tensor:
    """Reads two numbers of 4 bytes: ``[2]`` int32; zeros where the file ends before."""
    size = tf.cast(tf.strings.length(encoded), tf.int64)
    eight = tf.strings.substr(
        encoded, tf.minimum(tf.cast(at, tf.int64), size), tf.constant(8, tf.int64)
    )
    return tf.io.decode_raw(eight, tf.int32, little_endian=False, fixed_length=8)
