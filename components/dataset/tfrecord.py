"""TFRecords of `tf.train.Example` without TensorFlow, whose import costs each process seconds."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import google_crc32c

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
    """A serialized `tf.train.Example` with one value a feature; the same bytes each time."""
    example = _example_class()()
    for key, value in features.items():
        feature = example.features.feature[key]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        else:
            feature.int64_list.value.append(value)
    return bytes(example.SerializeToString(deterministic=True))


def frame(record: bytes) -> bytes:
    """A record as it stands in a TFRecord file: length, its checksum, data, its checksum."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, _masked_crc(length), record, _masked_crc(record)))


def _masked_crc(data: bytes) -> bytes:
    """https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details"""
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def _example_class() -> Any:
    """In a descriptor pool of its own, so that it does not meet TensorFlow's in one process."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    file = text_format.Parse(_EXAMPLE_PROTO, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))
