"""A training step: the 2017 article's, the Keras documentation's, and ours without and with cache.

All of them see the same images, through the same Transform graph, at the same batch size.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras

from benchmarks.pairs import Timings, take_turns
from inception_finetune.components import features
from inception_finetune.components.backbone import cut
from inception_finetune.components.backbone.compute_dtype import resolve_compute_dtype
from inception_finetune.components.backbone.load import load_backbone
from inception_finetune.components.backbone.module import fingerprint
from inception_finetune.components.backbone.network import multiplications
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3 as BACKBONE
from inception_finetune.components.image.settings import TrainViews
from inception_finetune.components.io.record_index import IndexedWriter, RecordIndex
from inception_finetune.components.trunk_features.handler import ImageView, TrunkHandler
from inception_finetune.components.trunk_features.record import decode, encode
from inception_finetune.components.trunk_features.settings import TrunkSettings
from inception_finetune.trainer import input_fn, model
from inception_finetune.trainer.optimizers import parameter_groups
from inception_finetune.trainer.order import TrainingOrder
from inception_finetune.trainer.settings import Training
from inception_finetune.trainer.step import TrainingStep

ARTICLE: Final = "article: all variables"
KERAS_RECIPE: Final = "Keras recipe: below layer 249 frozen"
ONLINE: Final = "ours, online"
CACHED: Final = "ours, from cached features"
TRUNK_PASS: Final = "ours, trunk pass (once for each image)"  # noqa: S105 - no password
KERAS_TRUNK: Final = "Keras inference of the same trunk, float32"

CUT: Final = "Mixed_7a"
CLASSES: Final = 10
# https://keras.io/api/applications/, "Fine-tune InceptionV3 on a new set of classes"
RECIPE_FIRST_TRAINED_LAYER: Final = 249
RECIPE_DENSE_UNITS: Final = 1024


def measure(
    serialized: Sequence[bytes],
    transform: tft.TFTransformOutput,
    backbone: Path,
    *,
    image_size: int,
    batch_size: int,
    rounds: int,
) -> Timings:
    """Times one step of each kind in turns; `serialized` fill one batch or more."""
    settings = TrunkSettings(
        network=BACKBONE.name,
        backbone_directory=str(backbone),
        backbone_fingerprint=fingerprint(backbone),
        trainable_from=CUT,
        image_size=image_size,
        compute_dtype="auto",
        views=TrainViews(),
        code_fingerprint="",
    )
    training = Training(batch_size=batch_size, learning_rate=1e-3, schedule="constant")
    images, labels = _transformed(serialized, transform)
    batch = images[:batch_size], labels[:batch_size]
    with tempfile.TemporaryDirectory() as directory:
        handler = TrunkHandler(settings, transform.transform_savedmodel_dir.rsplit("/", 1)[0])
        loaded = handler.load_model()
        size = handler.batch_elements_kwargs()["max_batch_size"]
        views = [ImageView(record, 0) for record in serialized]

        def trunk_pass(part: Sequence[ImageView]) -> list[bytes]:
            """All that TrunkFeatures does for an image but reading it and writing the result."""
            return [encode(output) for output in handler.run_inference(part, loaded)]

        stored = [
            record
            for start in range(0, len(views), size)
            for record in trunk_pass(views[start : start + size])
        ]
        in_turn = views[:size]

        trunk, _ = cut.split(BACKBONE, load_backbone(backbone, image_size=image_size).network, CUT)
        assert trunk is not None
        contestants: dict[str, Callable[[], object]] = {
            ARTICLE: _article(backbone, training, image_size, batch),
            KERAS_RECIPE: _keras_recipe(image_size, batch),
            ONLINE: _online(backbone, training, image_size, batch),
            CACHED: _cached(backbone, training, image_size, _store(stored, directory)),
            TRUNK_PASS: lambda: trunk_pass(in_turn),
            KERAS_TRUNK: lambda: trunk.predict_on_batch(batch[0]),
        }
        counts = dict.fromkeys(contestants, batch_size) | {TRUNK_PASS: len(in_turn)}
        return take_turns(contestants, counts, rounds, "training steps")


def trunk_operations(image_size: int) -> int:
    """Multiplications and additions of the trunk's convolutions, for one image."""
    of_blocks = multiplications(BACKBONE, image_size)
    return 2 * sum(of_blocks[block.name] for block in BACKBONE.blocks_before(CUT))


def matrix_product_peak(dtype: str, rounds: int = 5) -> float:
    """Operations a second of a large matrix product, the best of some rounds."""
    side = 4096
    import time

    factor = tf.cast(tf.random.stateless_uniform([side, side], [0, 0], -1, 1), dtype)
    best = np.inf
    for _ in range(rounds + 1):
        started = time.perf_counter()
        tf.linalg.matmul(factor, factor).numpy()
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def _transformed(
    serialized: Sequence[bytes], transform: tft.TFTransformOutput
) -> tuple[tf.Tensor, tf.Tensor]:
    raw = transform.raw_feature_spec()
    needed = {key: raw[key] for key in (features.IMAGE_ENCODED, features.LABEL)}
    layer = transform.transform_features_layer()
    transformed = layer(tf.io.parse_example(list(serialized), needed))
    return transformed[features.IMAGE], transformed[features.TRANSFORMED_LABEL]


def _article(backbone: Path, training: Training, image_size: int, batch) -> Callable[[], object]:
    """Every variable receives gradients, as in the article's code."""
    classifier = model.build_classifier(
        BACKBONE,
        load_backbone(backbone, image_size=image_size).network,
        "all",
        classes=CLASSES,
        fresh=False,
        training=training,
    )
    classifier.network.compile(
        optimizer=keras.optimizers.Adam(training.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return _keras_step(classifier.network, _again_and_again(batch))


def _keras_recipe(image_size: int, batch) -> Callable[[], object]:
    """As the Keras documentation has it, but for the weights, which cost no time."""
    base = keras.applications.InceptionV3(
        weights=None, include_top=False, input_shape=(image_size, image_size, features.CHANNELS)
    )
    flow = keras.layers.GlobalAveragePooling2D()(base.output)
    flow = keras.layers.Dense(RECIPE_DENSE_UNITS, activation="relu")(flow)
    network = keras.Model(base.input, keras.layers.Dense(CLASSES, activation="softmax")(flow))
    for index, layer in enumerate(network.layers):
        layer.trainable = index >= RECIPE_FIRST_TRAINED_LAYER
    network.compile(
        optimizer=keras.optimizers.SGD(learning_rate=0.0001, momentum=0.9),
        loss="sparse_categorical_crossentropy",
    )
    return _keras_step(network, _again_and_again(batch))


def _keras_step(network: keras.Model, batches: tf.data.Dataset) -> Callable[[], object]:
    """One step exactly as `fit` runs it."""
    train_function, iterator = network.make_train_function(), iter(batches)
    return lambda: train_function(iterator)


def _again_and_again(batch: input_fn.Batch) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensors(batch).repeat()


def _our_step(
    backbone: Path,
    training: Training,
    image_size: int,
    batches: tf.data.Dataset,
    *,
    from_features: bool,
) -> Callable[[], object]:
    """One step exactly as the Trainer runs it."""
    classifier = model.build_classifier(
        BACKBONE,
        load_backbone(backbone, image_size=image_size).network,
        CUT,
        classes=CLASSES,
        fresh=False,
        training=training,
    )
    dtype = resolve_compute_dtype("auto")
    trainee = model.prepare_training(classifier, dtype, from_features=from_features)
    groups = parameter_groups(training, trainee, BACKBONE, total_steps=1)
    step = TrainingStep(trainee, training, groups)
    iterator = iter(batches)
    return lambda: float(step.train(next(iterator), 0).loss)


def _online(backbone: Path, training: Training, image_size: int, batch) -> Callable[[], object]:
    images, labels = batch
    batches = _again_and_again((images, tf.one_hot(labels, CLASSES)))
    return _our_step(backbone, training, image_size, batches, from_features=False)


def _store(records: list[bytes], directory: str) -> input_fn.FeatureSource:
    writer = IndexedWriter(f"{directory}/features.tfrecord")
    places = np.array([writer.write(record) for record in records], np.int64)
    writer.close()
    offset, length, content = np.hsplit(places, 3)
    shard, labels = (
        np.zeros_like(offset, np.int32),
        np.array([decode(one).label for one in records]),
    )
    return input_fn.FeatureSource(
        RecordIndex((writer.path,), shard, offset, length, content, labels)
    )


def _cached(
    backbone: Path, training: Training, image_size: int, source: input_fn.FeatureSource
) -> Callable[[], object]:
    """Reading, decompressing and training; as in the Trainer, the next batch is read ahead."""
    order = TrainingOrder(len(source), source.views, training.batch_size, training.seed)
    batches = input_fn.training_batches(source, order, 0, 1_000_000, classes=CLASSES)
    return _our_step(backbone, training, image_size, batches, from_features=True)
