"""TFRecords of `tf.train.Example` without TensorFlow, whose import costs each process seconds."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import google_crc32c

from inception_finetune.components.dataset.probe import LARGEST_FILE
from inception_finetune.components.errors import UserError

COMPRESSED: Final = ".gz"  # the end of a compressed file's name
LARGEST_RECORD: Final = LARGEST_FILE + (
    1 << 20
)  # bytes: the largest picture, and what is beside it

_HEAD: Final = struct.Struct("<QI")  # length and its checksum
_CHECKSUM: Final = struct.Struct("<I")

# The part of tensorflow/core/example/{example,feature}.proto that images need.
_EXAMPLE_PROTO: Final = """
  name: "example.proto" package: "tensorflow" syntax: "proto3"
  message_type { name: "BytesList"
    field { name: "value" number: 1 type: TYPE_BYTES label: LABEL_REPEATED } }
  message_type { name: "Int64List"
    field { name: "value" number: 1 type: TYPE_INT64 label: LABEL_REPEATED } }
  message_type { name: "Feature"
    field { name: "bytes_list" number: 1 oneof_index: 0
            type: TYPE_MESSAGE type_name: ".tensorflow.BytesList" }
    field { name: "int64_list" number: 3 oneof_index: 0
            type: TYPE_MESSAGE type_name: ".tensorflow.Int64List" }
    oneof_decl { name: "kind" } }
  message_type { name: "Features"
    field { name: "feature" number: 1 label: LABEL_REPEATED
            type: TYPE_MESSAGE type_name: ".tensorflow.Features.FeatureEntry" }
    nested_type { name: "FeatureEntry" options { map_entry: true }
      field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "value" number: 2 label: LABEL_OPTIONAL
              type: TYPE_MESSAGE type_name: ".tensorflow.Feature" } } }
  message_type { name: "Example"
    field { name: "features" number: 1 type: TYPE_MESSAGE type_name: ".tensorflow.Features" } }
"""


def serialize_example(features: Mapping[str, bytes | int]) -> bytes:
    """Serializes a `tf.train.Example` with one value a feature, to the same bytes each time."""
    example = _example_class()()
    for key, value in features.items():
        feature = example.features.feature[key]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        else:
            feature.int64_list.value.append(value)
    return bytes(example.SerializeToString(deterministic=True))


def frame(record: bytes) -> bytes:
    """Frames a record for a TFRecord file: length, its checksum, data, its checksum."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, _masked_crc(length), record, _masked_crc(record)))


def read_frames(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Iterates over the records of a file, compressed where its name says so.

    Memory is bounded by `LARGEST_RECORD`, whatever lengths a file claims or unpacks to.

    Args:
      path: of the file.

    Yields:
      Offset of the data in bytes, unpacked, and the record; None where its checksum does not fit.

    Raises:
      UserError: a length is damaged or above `LARGEST_RECORD`, or the file ends within a record, so
        that the following records cannot be found.
    """
    is_compressed = path.name.endswith(COMPRESSED)
    remedy = "Write it again." if is_compressed else "Write it again, uncompressed."
    with gzip.open(path, "rb") if is_compressed else path.open("rb") as file:
        offset = 0
        while head := _read(file, _HEAD.size, path):
            length, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, -1)
            if checksum != _masked_crc_number(head[:8]):
                raise UserError(f"{path} is not a TFRecord file from byte {offset} on. {remedy}")
            if length > LARGEST_RECORD:
                raise UserError(
                    f"{path} claims a record of {length:,} bytes at byte {offset}, and at most "
                    f"{LARGEST_RECORD:,} are read. Write the file again, with smaller records."
                )
            start = offset + _HEAD.size
            offset = start + length + _CHECKSUM.size
            record, end = (_read(file, size, path) for size in (length, _CHECKSUM.size))
            if len(end) < _CHECKSUM.size:
                size = start + len(record) + len(end)
                raise UserError(
                    f"{path} ends in the middle of a record, at byte {size} of {offset}. {remedy}"
                )
            [checksum] = _CHECKSUM.unpack(end)
            yield start, record if checksum == _masked_crc_number(record) else None


def _read(file: io.BufferedIOBase, size: int, path: Path) -> bytes:
    try:
        return file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is no whole gzip file: {error}. Write it again.") from error


def _masked_crc(data: bytes) -> bytes:
    """Checksum of `data`, in TFRecord's format.

    https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
    """
    return _CHECKSUM.pack(_masked_crc_number(data))


def _masked_crc_number(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _example_class() -> Any:
    """Makes the message class in a descriptor pool of its own, apart from TensorFlow's."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    file = text_format.Parse(_EXAMPLE_PROTO, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))
