"""TrunkFeatures on Flink: the very features of this process, also where a TaskManager dies."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from sklearn.datasets import load_digits
from tfx.types import standard_artifacts

from inception_finetune.components import features
from inception_finetune.components.backbone.module import fingerprint
from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.dataset.tfrecord import serialize_example
from inception_finetune.components.image.settings import TrainViews
from inception_finetune.components.image.views import VIEWS
from inception_finetune.components.io.record_index import COMPRESSION, RecordIndex, RecordReader
from inception_finetune.components.trunk_features import record, store
from inception_finetune.components.trunk_features.component import TrunkFeatures
from inception_finetune.components.trunk_features.settings import TrunkSettings
from inception_finetune.pipeline.beam_options import Beam, pipeline_arguments
from inception_finetune.pipeline.failure import user_error

pytestmark = pytest.mark.flink
FILES, IN_FILE = 8, 48


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Real digits: eight files of train images, one of validation images."""
    directory = tmp_path_factory.mktemp("raw")
    digits = load_digits()
    records = []
    for number in range(FILES * IN_FILE):
        pixels = np.repeat((digits.images[number] * 15.9).astype(np.uint8)[..., None], 3, axis=2)
        values = {
            features.IMAGE_ENCODED: encode_png(pixels),
            features.IMAGE_ID: f"made:{number}".encode(),
            features.LABEL: int(digits.target[number]),
        }
        records.append(serialize_example(values))
    parts = {f"Split-train/{n}.gz": records[n * IN_FILE :][:IN_FILE] for n in range(FILES)}
    for name, part in {**parts, "Split-validation/0.gz": records[:IN_FILE]}.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(path), COMPRESSION) as writer:
            for serialized in part:
                writer.write(serialized)
    return directory


def run_trunk(raw, transform_output, standin, output: Path, arguments: list[str], views) -> None:
    def artifact(uri, splits=()):
        made = standard_artifacts.Examples()
        made.uri, made.split_names = str(uri), json.dumps(list(splits))
        return made

    graph = standard_artifacts.TransformGraph()
    graph.uri = transform_output.transform_savedmodel_dir.rsplit("/", 1)[0]
    settings = TrunkSettings(
        network="inception_v3",
        backbone_directory=str(standin),
        backbone_fingerprint=fingerprint(standin),
        trainable_from="Mixed_7c",
        image_size=75,
        compute_dtype="float32",
        views=views,
        code_fingerprint="",
    )
    TrunkFeatures.test_call(
        examples=artifact(raw, features.SPLITS),
        transform_graph=graph,
        trunk_features=artifact(output),
        settings=settings.model_dump_json(),
        pipeline=beam.Pipeline(options=PipelineOptions(arguments)),
    )


def read_all(directory: Path) -> dict[tuple[str, str, int], bytes]:
    """(split, id, view) -> the feature's bytes; fails on a doubled one."""
    found = {}
    for split in (features.TRAIN, features.VALIDATION):
        index = RecordIndex.load(
            store.index_path(str(directory), split), f"{directory}/Split-{split}"
        )
        reader = RecordReader(index)
        for number in range(len(index)):
            for view in range(index.file.shape[1]):
                output = record.decode(reader.read([number], [view])[0])
                key = (split, output.id.decode(), view)
                assert key not in found
                found[key] = output.values.tobytes()
    return found


@pytest.fixture
def on_flink(cluster) -> list[str]:
    # A process for each TaskManager, so that it dies with it.
    chosen = Beam(
        runner="flink", job_endpoint=cluster.job_endpoint, environment="PROCESS", parallelism=2
    )
    return pipeline_arguments(chosen)


def test_features_are_those_of_this_process_and_a_killed_task_manager_costs_none(
    cluster, on_flink, raw, transform_output, standin, tmp_path
):
    views = TrainViews(views=tuple(VIEWS), random_views=2)
    here, there = tmp_path / "here", tmp_path / "there"
    run_trunk(raw, transform_output, standin, here, pipeline_arguments(Beam()), views)
    expected = read_all(here)
    assert len(expected) == FILES * IN_FILE * views.count + IN_FILE

    raised: list[BaseException] = []

    def work() -> None:
        try:
            run_trunk(raw, transform_output, standin, there, on_flink, views)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    started = time.monotonic()
    thread.start()
    while thread.is_alive() and not list(there.glob("Split-*/*.tfrecord")):
        time.sleep(0.1)
    assert thread.is_alive(), raised  # the first features are written, the job is under way
    first = cluster.task_managers[0]
    os.kill(first.pid, signal.SIGKILL)
    print(f"TaskManager killed after {time.monotonic() - started:.0f} s")
    cluster.add_task_manager()
    thread.join(timeout=400)
    assert not thread.is_alive()
    print(f"ended after {time.monotonic() - started:.0f} s:", raised or "recovered")
    if raised:
        told = user_error(raised[0])
        assert told is not None and "\n" not in str(told)
        run_trunk(raw, transform_output, standin, there, on_flink, views)
    [*_, newest] = sorted(cluster.rest("jobs/overview")["jobs"], key=lambda job: job["start-time"])
    restarts = cluster.log("jobmanager").count("from state RUNNING to RESTARTING")
    print("job", newest["state"], "restarts", restarts)
    found = read_all(there)
    assert found.keys() == expected.keys()
    different = [key for key, values in found.items() if values != expected[key]]
    print(f"{len(found)} features, {len(different)} not bit-equal")
    assert not different
