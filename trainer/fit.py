"""Assembles a training from network, batches, checkpoints and observers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.components.backbone.compute_dtype import resolve_compute_dtype
from inception_finetune.components.backbone.keras_network import set_batch_norm_momentum
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.errors import UserError
from inception_finetune.trainer import devices, input_fn, model
from inception_finetune.trainer.checkpoints import Checkpoints
from inception_finetune.trainer.execution import Execution
from inception_finetune.trainer.imbalance import class_weights, sampling_chances
from inception_finetune.trainer.loop import EpochMeans, Schedule, run_loop
from inception_finetune.trainer.mixing import Mixing
from inception_finetune.trainer.observers import History, progress_lines
from inception_finetune.trainer.optimizers import parameter_groups
from inception_finetune.trainer.order import TrainingOrder
from inception_finetune.trainer.pictures import thumbnails
from inception_finetune.trainer.settings import TrainerSettings
from inception_finetune.trainer.step import TrainingStep
from inception_finetune.trainer.tensorboard import (
    SPRITE_SIDE,
    VALIDATION,
    TensorBoardLog,
    write_projector,
)

# Validation images in TensorBoard: in the grid of predictions, and in the embedding projector.
SHOWN: Final = 16
EMBEDDED: Final = 400
PUBLISHED: Final = "published"  # beside the logs, once an artifact holds a copy of them


def fit(
    classifier: model.Classifier,
    train: input_fn.IndexedSource,
    validation: input_fn.Source,
    pictures: input_fn.Source,
    settings: TrainerSettings,
    directory: str,
    execution: Execution,
) -> model.Trainee:
    """Trains `classifier` from where the checkpoints in `directory` stand.

    To be called in the scope of the strategy that `classifier` was made in.

    Args:
      classifier: is trained in place.
      train: the train examples.
      validation: the validation examples.
      pictures: images of the first of `validation`, for display.
      settings: of the training.
      directory: of checkpoints and logs.
      execution: how it is carried out.

    Returns:
      What was trained, with the weights that `classifier` was given.

    Raises:
      UserError: the train split is smaller than one batch, a batch cannot be divided among the
        devices, or the loss is not finite.
    """
    training = settings.training
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    devices.check_batch_size(training.batch_size, replicas)
    order = TrainingOrder(
        len(train),
        train.views,
        training.batch_size,
        training.seed,
        sampling_chances(training.balanced_sampling, train.labels),
    )
    total_steps = training.steps or (training.epochs or 1) * order.steps_per_epoch
    schedule = Schedule(
        total_steps,
        order.steps_per_epoch,
        execution.checkpoint_every,
        execution.log_every,
        training,
    )
    frozen_steps = training.unfreeze_after * order.steps_per_epoch
    _check_unfreezing(frozen_steps, total_steps)
    if classifier.upper is not None:
        momentum = training.batch_norm_momentum_over(total_steps - frozen_steps)
        set_batch_norm_momentum(classifier.upper, momentum)
    trainee = model.prepare_training(
        classifier,
        resolve_compute_dtype(settings.compute_dtype),
        from_features=isinstance(train, input_fn.FeatureSource),
    )
    groups = parameter_groups(
        training,
        trainee,
        NETWORKS[settings.network],
        total_steps=total_steps,
        frozen_steps=frozen_steps,
    )
    weights_of_classes = class_weights(training.class_weights, train.labels, settings.label_names)
    step, means = TrainingStep(trainee, training, groups, weights_of_classes), EpochMeans()
    weights = {"head": classifier.head}
    if trainee.upper is not None:
        weights["upper"] = trainee.upper
    checkpoints = Checkpoints(directory, weights, optimizers=step.optimizers, means=means.sums)
    start = checkpoints.restore()
    board = TensorBoardLog(
        log_directory(directory),
        start,
        samples=input_fn.first_examples(pictures, SHOWN)[0].numpy(),
        variables=trainee.network.trainable_variables,
        label_names=settings.label_names,
        batch_size=training.batch_size,
    )
    if not start:
        board.graph(classifier.network)
        board.views(settings.views, training.seed)
        board.hyperparameters(_hyperparameters(settings))

    def batches(first: int) -> tf.data.Dataset:
        return devices.distribute(
            step.strategy,
            lambda replicas: input_fn.training_batches(
                train,
                order,
                first,
                total_steps,
                classes=len(settings.label_names),
                mixing=Mixing.of(training),
                replicas=replicas,
            ),
        )

    with progress_lines(schedule, start) as lines, _damage_named(train, validation):
        run_loop(
            step,
            schedule,
            means,
            checkpoints,
            start=start,
            batches=batches,
            validate=lambda: step.validate(validation.batches(training.batch_size)),
            observers=[History(log_directory(directory), start), board, lines],
        )
    board.close()
    _embed(trainee, validation, pictures, settings, log_directory(directory))
    model.finish_training(trainee, classifier)
    return trainee


@contextmanager
def _damage_named(*sources: input_fn.Source) -> Iterator[None]:
    """Replaces TensorFlow's error by one that names the example that cannot be read."""
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
        for source in sources:
            if damage := source.damage():
                raise damage from error
        raise


def _hyperparameters(settings: TrainerSettings) -> dict[str, bool | int | float | str]:
    """Returns the settings that may differ between runs and matter; unset ones are left out."""
    values = settings.model_dump(include={"trainable_from", "fresh", "image_size", "compute_dtype"})
    values |= settings.training.model_dump()
    return {
        name: json.dumps(value) if isinstance(value, dict) else value
        for name, value in values.items()
        if value is not None
    }


def _check_unfreezing(frozen_steps: int, total_steps: int) -> None:
    if frozen_steps >= total_steps:
        raise UserError(
            f"training.unfreeze_after freezes the upper blocks for {frozen_steps} steps, and the "
            f"training has {total_steps}: they would never be trained. Lower it, or set "
            "backbone.trainable_from=head."
        )


def _embed(
    trainee: model.Trainee,
    validation: input_fn.Source,
    pictures: input_fn.Source,
    settings: TrainerSettings,
    directory: str,
) -> None:
    """Embeds images in batches: all at once would take twice training's memory at 299 pixels."""
    names, size = settings.label_names, settings.training.batch_size
    vectors: list[npt.NDArray[np.float32]] = []
    rows: list[tuple[str, str]] = []
    for inputs, labels in validation.batches(size, EMBEDDED):
        vector, logits = trainee.embedding(inputs, training=False)
        vectors.append(tf.cast(vector, tf.float32).numpy())
        predictions = tf.argmax(logits, axis=-1).numpy()
        rows += [(names[i], names[j]) for i, j in zip(labels.numpy(), predictions, strict=True)]
    small = [
        thumbnails(images.numpy(), SPRITE_SIDE) for images, _ in pictures.batches(size, EMBEDDED)
    ]
    write_projector(
        f"{directory}/{VALIDATION}", np.concatenate(vectors), np.concatenate(small), rows
    )


def log_directory(directory: str) -> str:
    """Returns the folder of the logs: beside the checkpoints, as a resumed run continues them."""
    return f"{directory}/logs"


def publish_logs(directory: str, target: str) -> None:
    """Copies the logs into the artifact that TFX keeps, and marks them as published.

    Args:
      directory: of the training.
      target: folder in the artifact.
    """
    for folder, _, files in tf.io.gfile.walk(log_directory(directory)):
        copy = target + folder.removeprefix(log_directory(directory))
        tf.io.gfile.makedirs(copy)
        for name in files:
            tf.io.gfile.copy(f"{folder}/{name}", f"{copy}/{name}", overwrite=True)
    with tf.io.gfile.GFile(f"{directory}/{PUBLISHED}", "w") as file:
        file.write(target)
