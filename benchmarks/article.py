"""``python -m benchmarks.article``: the 2017 article's training as its code really was.

TF-Slim's `create_train_op` trains every variable where it is given no list, and the article's code
evaluated with `is_training=True`: with dropout, and with each batch's own statistics. Its text
means the preset `article`: Mixed_7a to 7c and the head alone, evaluated picture by picture.
"""

from pathlib import Path
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras as keras
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.data import Pictures, load_pictures
from inception_finetune.components import features
from inception_finetune.components.backbone import cut
from inception_finetune.components.backbone.keras_network import set_batch_norm_momentum
from inception_finetune.components.backbone.load import load_backbone
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.components.image.pixels import crop_and_scale
from inception_finetune.components.progress import progress
from inception_finetune.pipeline.cli.options import load_tensorflow
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.inputs import prepare_inputs
from inception_finetune.trainer import model
from inception_finetune.trainer.settings import Training

_FRESH_FROM: Final = "Mixed_7a"
_MOMENTUM: Final = 0.9997  # TF-Slim's `inception_arg_scope`, `batch_norm_decay`


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="KEY=VALUE settings.")] = None,
    seeds: Annotated[int, typer.Option(help="Trainings.")] = 1,
) -> None:
    """Test accuracy with every variable trained, by batches' statistics and by moving ones."""
    load_tensorflow(False)
    config = load_config("article", overrides or ())
    training = Training(**config.training.identity.model_dump())
    pictures = load_pictures(config)
    is_test = np.array([split == features.TEST for split in pictures.splits])
    table = Table(title=f"{int(is_test.sum()):,} test pictures, {training.steps} steps")
    for column in ("seed", "test batches", "statistics", "accuracy"):
        table.add_column(column, justify="right" if column == "accuracy" else "left")
    shown = _Shown(pictures, config.image.size, config.image.central_crop)
    backbone = Path(prepare_inputs(config).backbone)
    for seed in range(seeds):
        seeded = training.model_copy(update={"seed": seed})
        network = _network(backbone, config.image.size, len(pictures.label_names), seeded)
        _train(network, shown, np.flatnonzero(~is_test), seeded)
        tests = np.flatnonzero(is_test)
        random = np.random.default_rng(seed)
        orders = {
            "at random": random.permutation(tests),
            "at random, again": random.permutation(tests),
            "sorted by class": tests[np.argsort(pictures.labels[tests], kind="stable")],
        }
        said = {}
        for name, order in orders.items():
            answers = np.empty(len(pictures.labels), np.int64)
            answers[order] = _answers(network, shown, order, training.batch_size, by_batch=True)
            said[name] = answers[tests]
            accuracy = np.mean(said[name] == pictures.labels[tests])
            table.add_row(f"{seed}", name, "the batch's", f"{accuracy:.4f}")
        alone = _answers(network, shown, tests, training.batch_size, by_batch=False)
        accuracy = np.mean(alone == pictures.labels[tests])
        table.add_row(f"{seed}", "any", "moving", f"{accuracy:.4f}")
        changed = np.mean(said["at random"] != said["at random, again"])
        table.add_row(f"{seed}", "other answers in another order", "", f"{changed:.4f}")
    Console().print(table)


class _Shown:
    """Pictures as the network is given them."""

    def __init__(self, pictures: Pictures, size: int, central_crop: float) -> None:
        self._pictures = pictures
        self._scale = tf.function(lambda pixels: crop_and_scale(pixels, size, central_crop))

    def batch(self, places: npt.NDArray[np.int64]) -> tuple[tf.Tensor, npt.NDArray[np.int64]]:
        """Returns ``[B, S, S, 3]`` float32 in [-1, 1], and the labels ``[B]``."""
        return self._scale(self._pictures.images[places]), self._pictures.labels[places]


def _network(backbone: Path, size: int, classes: int, training: Training) -> keras.Model:
    """The backbone with fresh upper blocks and head, all of which is trained."""
    keras.utils.set_random_seed(training.seed)
    whole = load_backbone(backbone, image_size=size).network
    _, upper = cut.split(INCEPTION_V3, whole, _FRESH_FROM)
    assert upper is not None
    cut.reinitialize(INCEPTION_V3, upper, training.seed)
    classifier = model.build_classifier(
        INCEPTION_V3, whole, "all", classes=classes, fresh=False, training=training
    )
    assert classifier.upper is not None
    set_batch_norm_momentum(classifier.upper, _MOMENTUM)
    return classifier.network


def _train(
    network: keras.Model, shown: _Shown, trained: npt.NDArray[np.int64], training: Training
) -> None:
    optimizer = keras.optimizers.Adam(training.learning_rate)
    kernels = [one for one in network.trainable_variables if "kernel" in one.name]

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
            penalty = training.weight_decay * tf.add_n(map(tf.nn.l2_loss, kernels))
            objective = loss + penalty
        gradients = tape.gradient(objective, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss

    random = np.random.default_rng(training.seed)
    assert training.steps is not None
    with progress("Training", training.steps, "steps") as advance:
        order = random.permutation(trained)
        for _ in range(training.steps):
            if len(order) < training.batch_size:
                order = random.permutation(trained)
            batch, order = np.split(order, [training.batch_size])
            step(*shown.batch(batch))
            advance(1)


def _answers(
    network: keras.Model,
    shown: _Shown,
    order: npt.NDArray[np.int64],
    batch_size: int,
    *,
    by_batch: bool,
) -> npt.NDArray[np.int64]:
    """The likeliest class of each picture in `order`; moving statistics are left as they are."""
    moving = [one for one in network.non_trainable_variables if "moving" in one.name]
    kept = [one.numpy() for one in moving]
    # In training mode dropout is on too, as it was with `is_training=True`.
    answer = tf.function(lambda images: network(images, training=by_batch))
    classes = [
        np.argmax(answer(shown.batch(order[start : start + batch_size])[0]), axis=-1)
        for start in range(0, len(order), batch_size)
    ]
    for variable, value in zip(moving, kept, strict=True):
        variable.assign(value)
    return np.concatenate(classes)


if __name__ == "__main__":
    typer.run(main)
