"""A trunk output as a `tf.train.Example`: raw values, compressed, with label and id."""

from typing import Final, NamedTuple

import ml_dtypes
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import zstandard
from google.protobuf.message import DecodeError

from inception_finetune.components import features
from inception_finetune.components.errors import UserError

_LEVEL: Final = 1  # of zstd
DTYPES: Final = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


class TrunkOutput(NamedTuple):
    """The trunk's output of one image.

    `values` is ``[h, w, channels]`` or ``[features]``, float32 or bfloat16.
    """

    values: npt.NDArray
    label: int
    id: bytes


def encode(output: TrunkOutput) -> bytes:
    """Serializes a trunk output as an Example."""
    # The frame ends with a checksum of the values, so that damage is found when it is read.
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    example = tf.train.Example()
    feature = example.features.feature
    feature[features.TRUNK].bytes_list.value.append(compressor.compress(output.values.tobytes()))
    feature[features.TRUNK_SHAPE].int64_list.value.extend(output.values.shape)
    feature[features.TRUNK_DTYPE].bytes_list.value.append(output.values.dtype.name.encode())
    feature[features.LABEL].int64_list.value.append(output.label)
    feature[features.IMAGE_ID].bytes_list.value.append(output.id)
    return bytes(example.SerializeToString())


def decode(record: bytes) -> TrunkOutput:
    """Parses an Example that `encode` wrote.

    Raises:
      UserError: the record is damaged.
    """
    try:
        feature = tf.train.Example.FromString(record).features.feature
        compressed = feature[features.TRUNK].bytes_list.value[0]
        dtype = DTYPES[feature[features.TRUNK_DTYPE].bytes_list.value[0].decode()]
        raw = zstandard.ZstdDecompressor().decompress(compressed)
        return TrunkOutput(
            np.frombuffer(raw, dtype).reshape(feature[features.TRUNK_SHAPE].int64_list.value),
            feature[features.LABEL].int64_list.value[0],
            feature[features.IMAGE_ID].bytes_list.value[0],
        )
    except (zstandard.ZstdError, DecodeError, ValueError, LookupError) as error:
        raise UserError(
            f"A record of trunk features is damaged ({error}). Delete the pipeline's "
            "TrunkFeatures artifacts and run again."
        ) from error
