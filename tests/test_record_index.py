import os

import numpy as np
import pytest
import tensorflow as tf

from components.errors import UserError
from components.record_index import COMPRESSION, RecordIndex, RecordReader, spool


@pytest.fixture
def records():
    return [bytes([n]) * (n * 37 % 101) for n in range(40)]


@pytest.fixture
def spooled(records, tmp_path):
    files = [str(tmp_path / f"{name}.gz") for name in "ab"]
    for file, part in zip(files, (records[:25], records[25:]), strict=True):
        with tf.io.TFRecordWriter(file, COMPRESSION) as writer:
            for record in part:
                writer.write(record)
    return spool(files, tmp_path)


def test_records_are_read_in_any_order(spooled, records):
    order = [39, 0, 25, 24, 0]
    assert RecordReader(spooled).read(order, [0] * 5) == [records[n] for n in order]
    assert len(spooled) == 40


def test_the_copy_is_a_tfrecord_file_that_tensorflow_reads(spooled, records):
    assert list(tf.data.TFRecordDataset(spooled.files[0]).as_numpy_iterator()) == records


def test_an_index_finds_its_files_where_the_folder_was_moved(spooled, records, tmp_path):
    spooled.save(str(tmp_path / "index.npz"))
    moved = tmp_path / "moved"
    moved.mkdir()
    old = tmp_path / spooled.files[0].rsplit("/", 1)[1]
    old.rename(moved / old.name)
    loaded = RecordIndex.load(str(tmp_path / "index.npz"), str(moved))
    assert RecordReader(loaded).read([7], [0]) == [records[7]]
    np.testing.assert_array_equal(loaded.length, spooled.length)


def test_a_file_that_was_cut_off_is_named(spooled):
    os.truncate(spooled.files[0], int(spooled.offset[39, 0]) + 3)
    with pytest.raises(UserError, match=r"\.tfrecord is shorter than its index says"):
        RecordReader(spooled).read([39], [0])
