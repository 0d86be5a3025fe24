"""The one reader of records of others: TensorFlow's format, and no more memory than a record."""

import gzip
import struct
import tracemalloc
import zlib

import pytest

from inception_finetune.components.dataset import tfrecord
from inception_finetune.components.dataset.tfrecord import frame, read_frames
from inception_finetune.components.errors import UserError

RECORDS = [b"first", b"", b"third" * 1000]


def claiming(length: int) -> bytes:
    """The head of a record of that length, with a checksum that fits."""
    packed = struct.pack("<Q", length)
    return packed + frame(packed)[20:24]


@pytest.mark.parametrize("name", ["a.tfrecord", "a.tfrecord.gz"])
def test_what_tensorflow_writes_is_read_at_its_place(tmp_path, name):
    import tensorflow as tf

    path = tmp_path / name
    with tf.io.TFRecordWriter(str(path), "GZIP" if name.endswith("gz") else "") as writer:
        for record in RECORDS:
            writer.write(record)
    whole = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    found = list(read_frames(path))
    assert [record for _, record in found] == RECORDS
    assert [whole[start : start + len(record)] for start, record in found] == RECORDS


def test_a_length_that_no_record_has_is_refused(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(frame(b"whole") + claiming(1 << 60) + b"x" * 100)
    records = read_frames(path)
    assert next(records) == (12, b"whole")
    said = rf"^{path} claims a record of 1,152,921,504,606,846,976 bytes at byte 21, and at most "
    with pytest.raises(UserError, match=said):
        next(records)


def test_what_unpacks_to_a_huge_record_takes_no_memory(tmp_path):
    path = tmp_path / "a.tfrecord.gz"
    with gzip.open(path, "wb") as file:
        file.write(claiming(2 * tfrecord.LARGEST_RECORD))
        for _ in range(40):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(UserError, match="claims a record of"):
        list(read_frames(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_claim_that_the_file_does_not_keep_is_refused(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(claiming(1000) + b"x" * 100)
    with pytest.raises(UserError, match="ends in the middle of a record, at byte 112 of 1016"):
        list(read_frames(path))


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-20], lambda data: data[:12] + b"\xff" * 9 + data[21:], lambda _: b"none"],
    ids=["cut", "damaged", "not compressed"],
)
def test_a_damaged_compressed_file_is_one_line(tmp_path, damage):
    path = tmp_path / "a.tfrecord.gz"
    path.write_bytes(damage(gzip.compress(frame(bytes(5000)) + frame(zlib.compress(b"x")))))
    with pytest.raises(UserError, match=f"{path} is no whole gzip file: .*Write it again") as error:
        list(read_frames(path))
    assert "\n" not in str(error.value)
