"""What the benchmarks work on: a few images of an archive, through the whole DAG once."""

from dataclasses import replace
from pathlib import Path

import tensorflow as tf
import tensorflow_transform as tft

from inception_finetune.components import features
from inception_finetune.components.dataset.archive import Archive, read_archive
from inception_finetune.components.dataset.convert import convert
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.data_set import fetch_archive
from inception_finetune.pipeline.history.outcome import Outcome
from inception_finetune.pipeline.inputs import prepare_inputs
from inception_finetune.pipeline.local import run_pipeline


def load_archive(config: Config) -> Archive:
    return read_archive(fetch_archive(config))


def first_images(archive: Archive, count: int) -> Archive:
    """`count` of the first train batch and of the test batch."""
    batches = tuple(
        replace(batch, images=batch.images[:count], labels=batch.labels[:count])
        for batch in (archive.batches[0], archive.batches[-1])
    )
    return replace(archive, batches=batches, fingerprint=f"{archive.fingerprint}:{count}")


def run_small(config: Config, archive: Archive) -> Outcome:
    """The whole DAG on few images: what its steps take is their fixed cost."""
    records = Path(config.root).resolve() / "few"
    convert(archive, records, validation_fraction=0.5, seed=0)
    return run_pipeline(config, replace(prepare_inputs(config), records=str(records)))


def train_examples(config: Config) -> list[bytes]:
    shards = sorted(Path(config.root, "few").glob(f"{features.TRAIN}-*.tfrecord"))
    return list(tf.data.TFRecordDataset(list(map(str, shards))).as_numpy_iterator())


def transform_graph(config: Config) -> tft.TFTransformOutput:
    graphs = Path(config.root, "artifacts", Step.TRANSFORM, "transform_graph").iterdir()
    return tft.TFTransformOutput(str(max(graphs, key=lambda path: int(path.name))))
