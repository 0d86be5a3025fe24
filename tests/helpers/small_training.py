"""A training that takes a second: made trunk features, and a network of 3 classes."""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

from inception_finetune.components.image.settings import TrainViews
from inception_finetune.components.io.record_index import IndexedWriter, RecordIndex
from inception_finetune.components.trunk_features.record import TrunkOutput, encode
from inception_finetune.trainer import input_fn, model
from inception_finetune.trainer.execution import Execution
from inception_finetune.trainer.input_fn import FeatureSource
from inception_finetune.trainer.settings import ConfidenceSection, TrainerSettings, Training

CLASSES, CHANNELS = 3, 8


def make_source(
    directory: Path, count: int, seed: int, shape: tuple[int, ...] = (2, 2, CHANNELS)
) -> FeatureSource:
    """Trunk features whose mean tells the class, not without noise."""
    random = np.random.default_rng(seed)
    labels = random.integers(CLASSES, size=count)
    writer = IndexedWriter(str(directory / f"features-{seed}.tfrecord"))
    places = []
    for number, label in enumerate(labels):
        values = random.normal(0, 1.5, shape).astype(np.float32)
        values[..., label] += 1
        output = TrunkOutput(values, int(label), str(number).encode())
        places.append(writer.write(encode(output)))
    writer.close()
    file = np.zeros([count, 1], np.int32)
    columns = np.hsplit(np.array(places, np.int64), 3)
    return FeatureSource(RecordIndex((writer.path,), file, *columns, labels))


def make_sources(directory: Path):
    """Train and validation features, and pictures for the latter."""
    features = make_source(directory, 100, seed=0), make_source(directory, 40, seed=1)
    return *features, Pictures()


class Pictures(input_fn.IndexedSource):
    """A picture of noise for each validation example."""

    views = 1

    def __init__(self, count: int = 40) -> None:
        """There are no records to be read."""
        self.count = count

    def __len__(self) -> int:
        return self.count

    def damage(self) -> None:
        return None

    def dataset(self, plan, choose):
        noise = np.random.default_rng(0).uniform(-1, 1, [len(self), 20, 20, 3]).astype(np.float32)

        def read(number):
            examples = choose(number).examples
            return noise[examples], examples

        def load(number):
            images, labels = tf.numpy_function(read, [number], [tf.float32, tf.int64])
            return tf.ensure_shape(images, [None, 20, 20, 3]), labels

        return plan.map(load)


def settings_for(**training) -> TrainerSettings:
    values = {"batch_size": 16, "epochs": 3, "learning_rate": 0.01}
    return TrainerSettings(
        training=Training(**(values | training)),
        image_size=75,
        central_crop=0.875,
        network="inception_v3",
        backbone_directory="",
        backbone_fingerprint="",
        trainable_from="Mixed_7a",
        cut_before="Mixed_7a",
        fresh=False,
        compute_dtype="float32",
        views=TrainViews(),
        served_views=("identity",),
        label_names=("cat", "dog", "owl"),
        confidence=ConfidenceSection(),
        code_fingerprint="",
    )


def execution(checkpoint_every: int = 4, log_every: int = 1) -> Execution:
    """Where the work lies is decided by who calls `fit`."""
    return Execution(work="", checkpoint_every=checkpoint_every, log_every=log_every)


def small_classifier(training: Training) -> model.Classifier:
    """The parts of the real one, each with the kinds of layers that matter, but small."""
    keras.utils.set_random_seed(training.seed)
    features = keras.Input([2, 2, CHANNELS])
    flow = keras.layers.Conv2D(6, 1, use_bias=False)(features)
    flow = keras.layers.BatchNormalization(scale=False)(flow)
    flow = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(flow))
    upper = keras.Model(features, flow, name="upper")
    vector = keras.Input([6])
    dropped = model.Dropout(training.dropout, training.seed)(vector)
    head = keras.Model(vector, keras.layers.Dense(CLASSES)(dropped), name="head")
    return model.Classifier(None, upper, head, keras.Model(features, head(upper(features))))
