"""ImportExampleGen's executor: every record once, and memory that does not grow with them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

IMAGE_BYTES = 100_000
# In a process of its own, whose peak is that of this step.
RUN = """
import resource, sys
from google.protobuf import json_format
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts
from inception_finetune.components.example_gen.executor import Executor

source, output = sys.argv[1:]
examples = standard_artifacts.Examples()
examples.uri = output
split = example_gen_pb2.Input.Split(name="train", pattern="train-*")
flags = ["--runner=FnApiRunner", "--beam_plugins=components.beam.worker_setup"]
context = BaseBeamExecutor.Context(beam_pipeline_args=flags, tmp_dir=output, unique_id="1")
properties = {
    "input_base": source,
    "input_config": json_format.MessageToJson(example_gen_pb2.Input(splits=[split])),
    "output_config": "{}",
    "output_data_format": example_gen_pb2.FORMAT_TF_EXAMPLE,
    "output_file_format": example_gen_pb2.FORMAT_TFRECORDS_GZIP,
}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Executor(context).Do({}, {"examples": [examples]}, properties)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
print(examples.split_names)
"""


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    import numpy as np
    import tensorflow as tf

    directory, random = tmp_path_factory.mktemp("records"), np.random.default_rng(0)
    for shard in range(4):
        with tf.io.TFRecordWriter(str(directory / f"train-{shard}.tfrecord")) as writer:
            for number in range(250):
                example = tf.train.Example()
                feature = example.features.feature
                feature["image/encoded"].bytes_list.value.append(random.bytes(IMAGE_BYTES))
                feature["image/id"].bytes_list.value.append(f"{shard}:{number}".encode())
                writer.write(example.SerializeToString())
    return directory


def test_examples_stream_through_and_none_is_lost(records, tmp_path):
    import tensorflow as tf

    arguments = [sys.executable, "-c", RUN, str(records), str(tmp_path)]
    ran = subprocess.run(arguments, check=True, capture_output=True, text=True)
    grown, splits = ran.stdout.splitlines()[-2:]
    assert json.loads(splits) == ["train"]
    assert int(grown) < 50_000  # KB, of 100,000 that were read

    def read(pattern: str, compression: str) -> list[bytes]:
        files = [str(path) for path in sorted(Path(pattern).parent.glob(Path(pattern).name))]
        return sorted(tf.data.TFRecordDataset(files, compression).as_numpy_iterator())

    found = read(f"{tmp_path}/Split-train/*.gz", "GZIP")
    assert found == read(f"{records}/train-*", "") and len(found) == 1000


def test_a_record_that_is_no_example_is_refused(tmp_path):
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(tmp_path / "train-0.tfrecord")) as writer:
        writer.write(b"no example")
    arguments = [sys.executable, "-c", RUN, str(tmp_path), str(tmp_path / "output")]
    ran = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert ran.returncode != 0
    assert "Error parsing message with type 'tensorflow.Example'" in ran.stderr
