import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.record_index import (
    COMPRESSION,
    IndexedWriter,
    RecordIndex,
    RecordReader,
    copy_and_index,
)


@pytest.fixture
def records():
    return [bytes([n]) * (n * 37 % 101) for n in range(40)]


@pytest.fixture
def indexed(records, tmp_path):
    files = [str(tmp_path / f"{name}.gz") for name in "ab"]
    for file, part in zip(files, (records[:25], records[25:]), strict=True):
        with tf.io.TFRecordWriter(file, COMPRESSION) as writer:
            for record in part:
                writer.write(record)
    return copy_and_index(files, tmp_path)


def test_records_are_read_in_any_order(indexed, records):
    order = [39, 0, 25, 24, 0]
    assert RecordReader(indexed).read(order, [0] * 5) == [records[n] for n in order]
    assert len(indexed) == 40


def test_the_copy_is_a_tfrecord_file_that_tensorflow_reads(indexed, records):
    assert list(tf.data.TFRecordDataset(indexed.files[0]).as_numpy_iterator()) == records


def test_an_index_finds_its_files_where_the_folder_was_moved(indexed, records, tmp_path):
    indexed.save(str(tmp_path / "index.npz"))
    moved = tmp_path / "moved"
    moved.mkdir()
    old = tmp_path / indexed.files[0].rsplit("/", 1)[1]
    old.rename(moved / old.name)
    loaded = RecordIndex.load(str(tmp_path / "index.npz"), str(moved))
    assert RecordReader(loaded).read([7], [0]) == [records[7]]
    np.testing.assert_array_equal(loaded.length, indexed.length)


def test_a_file_that_was_cut_off_is_named(indexed):
    os.truncate(indexed.files[0], int(indexed.offset[39, 0]) + 3)
    with pytest.raises(UserError, match=r"\.tfrecord is shorter than its index says"):
        RecordReader(indexed).read([39], [0])


def test_a_reader_keeps_few_files_open_and_none_once_it_is_closed(tmp_path):
    writers = [IndexedWriter(str(tmp_path / f"{number}.tfrecord")) for number in range(60)]
    rows = np.array([writer.write(f"record {n}".encode()) for n, writer in enumerate(writers)])
    for writer in writers:
        writer.close()
    paths = tuple(writer.path for writer in writers)
    columns = np.hsplit(rows.astype(np.int64), 3)
    index = RecordIndex(paths, np.arange(60, dtype=np.int32)[:, None], *columns, np.arange(60))

    def open_files() -> int:
        return sum(file.path in paths for file in psutil.Process().open_files())

    def read(start: int) -> list[bytes]:
        return reader.read(np.roll(np.arange(60), start), [0] * 60)

    with RecordReader(index) as reader, ThreadPoolExecutor(8) as threads:
        for start, found in enumerate(threads.map(read, range(20))):
            assert found == [f"record {n}".encode() for n in np.roll(np.arange(60), start)]
        assert 0 < open_files() <= 16
    assert open_files() == 0


def test_a_file_that_cannot_be_read_is_closed(indexed):
    indexed.offset[3, 0] = -1

    def is_open() -> bool:
        return indexed.files[0] in [file.path for file in psutil.Process().open_files()]

    with RecordReader(indexed) as reader:
        reader.read([0], [0])
        assert is_open()
        with pytest.raises(tf.errors.OpError) as held:  # and with it, what it was raised in
            reader.read([3], [0])
        assert not is_open(), held
        assert reader.read([39], [0]) == [bytes([39]) * (39 * 37 % 101)]


def test_of_a_sample_the_first_alone_are_copied(tmp_path):
    files, directory = [str(tmp_path / f"{name}.gz") for name in "ab"], tmp_path / "sample"
    directory.mkdir()
    examples = [example(number) for number in range(40)]
    for file, part in zip(files, (examples[:25], examples[25:]), strict=True):
        with tf.io.TFRecordWriter(file, COMPRESSION) as writer:
            for record in part:
                writer.write(record)
    whole, sample = copy_and_index(files, tmp_path), copy_and_index(files, directory, 5)
    read = [RecordReader(index).read(range(5), [0] * 5) for index in (whole, sample)]
    assert read[0] == read[1] and len(sample) == 5
    [copy] = directory.iterdir()
    assert copy.stat().st_size == sum(len(record) + 16 for record in read[0])


def example(number: int) -> bytes:
    made = tf.train.Example()
    made.features.feature[features.IMAGE_ID].bytes_list.value.append(f"id {number}".encode())
    return made.SerializeToString()


def test_a_digest_goes_by_content_and_not_by_files(indexed, tmp_path):
    files = [str(tmp_path / f"{name}.gz") for name in "ab"]
    (tmp_path / "other").mkdir()
    assert copy_and_index(files, tmp_path / "other").digest == indexed.digest
    assert copy_and_index(files[:1], tmp_path / "other").digest != indexed.digest
