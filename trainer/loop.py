"""The training loop: steps, validation, checkpoints; continues where a killed run stopped."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from inception_finetune.components.errors import UserError
from inception_finetune.trainer.checkpoints import Checkpoints
from inception_finetune.trainer.settings import Training
from inception_finetune.trainer.step import StepResult, TrainingStep, Validation


class StepMetrics(NamedTuple):
    """Measurements of one step."""

    step: int  # from 1
    result: StepResult
    learning_rate: float
    seconds: float  # waiting for the batch included


class EpochMetrics(NamedTuple):
    """Measurements of one epoch."""

    epoch: int  # from 1
    step: int  # at its end
    loss: float
    accuracy: float
    validation: Validation
    learning_rate: float


class Observer:
    """Observes a training without changing it. Each method may be left out."""

    def on_step(self, metrics: StepMetrics) -> None:
        """Is called after each step."""

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Is called after each epoch."""

    def before_save(self) -> None:
        """Is called before each checkpoint, to flush to disk: earlier steps are not repeated."""


class EpochMeans:
    """Means of loss and accuracy over the steps of an epoch; kept in checkpoints."""

    def __init__(self) -> None:
        self.sums = tf.Variable([0.0, 0.0, 0.0], dtype=tf.float64, trainable=False)

    def update(self, result: StepResult) -> None:
        """Adds a step."""
        self.sums.assign_add([1.0, result.loss, result.accuracy])

    def pop(self) -> tuple[float, float]:
        """Returns the means of loss and accuracy, and resets them."""
        steps, loss, accuracy = self.sums.numpy()
        self.sums.assign([0.0, 0.0, 0.0])
        return float(loss / steps), float(accuracy / steps)


class Schedule(NamedTuple):
    """Length of a training and of its parts."""

    total_steps: int
    steps_per_epoch: int
    checkpoint_every: int  # steps
    training: Training


def run_loop(
    step: TrainingStep,
    schedule: Schedule,
    means: EpochMeans,
    checkpoints: Checkpoints,
    *,
    start: int,
    batches: Callable[[int], Iterable],
    validate: Callable[[], Validation],
    observers: Sequence[Observer] = (),
) -> None:
    """Trains from step `start` on; afterwards the network holds the weights to be exported.

    Args:
      step: trains and validates the network.
      schedule: length of the training.
      means: of the current epoch.
      checkpoints: of the training.
      start: number of completed steps.
      batches: called with the number of a step; returns the batches from it on.
      validate: measures the network as it is, on the validation split.
      observers: are called after steps and epochs.

    Raises:
      UserError: loss or gradients are not finite.
    """
    training = schedule.training
    # A run that was killed after its last step has nothing left to train.
    stopped = start % schedule.steps_per_epoch == 0 and _is_over(
        start // schedule.steps_per_epoch, checkpoints, training
    )
    for metrics in () if stopped else _steps(step, schedule, batches(start), start):
        _check_finite(metrics, checkpoints.directory)
        means.update(metrics.result)
        for observer in observers:
            observer.on_step(metrics)
        ends_epoch = (
            metrics.step % schedule.steps_per_epoch == 0 or metrics.step == schedule.total_steps
        )
        if ends_epoch:
            epoch = EpochMetrics(
                math.ceil(metrics.step / schedule.steps_per_epoch),
                metrics.step,
                *means.pop(),
                validate(),
                metrics.learning_rate,
            )
            with step.averaged():
                checkpoints.note(epoch.epoch, epoch.validation.accuracy, epoch.validation.loss)
            for observer in observers:
                observer.on_epoch(epoch)
        if ends_epoch or metrics.step % schedule.checkpoint_every == 0:
            for observer in observers:
                observer.before_save()
            checkpoints.save(metrics.step)
        if ends_epoch and _is_over(epoch.epoch, checkpoints, training):
            break
    if training.restore_best and checkpoints.best_epoch:
        checkpoints.restore_best()
    elif step.optimizer.use_ema:
        step.optimizer.finalize_variable_values(step.network.trainable_variables)


def _steps(
    step: TrainingStep, schedule: Schedule, batches: Iterable, start: int
) -> Iterator[StepMetrics]:
    iterator = iter(batches)
    for number in range(start, schedule.total_steps):
        started = time.perf_counter()
        result = step.train(next(iterator))
        seconds = time.perf_counter() - started
        # What the optimizer now says is the rate that this step was made with.
        yield StepMetrics(number + 1, result, float(step.optimizer.learning_rate.numpy()), seconds)


def _is_over(epoch: int, checkpoints: Checkpoints, training: Training) -> bool:
    return training.patience is not None and epoch - checkpoints.best_epoch >= training.patience


def _check_finite(metrics: StepMetrics, directory: str) -> None:
    if math.isfinite(metrics.result.loss) and math.isfinite(metrics.result.gradient_norm):
        return
    latest = tf.train.latest_checkpoint(f"{directory}/state")
    last = f"the last finite state is {latest}" if latest else "no finite state was saved before"
    raise UserError(
        f"Loss {metrics.result.loss:g} or gradient norm {metrics.result.gradient_norm:g} "
        f"is not finite at step {metrics.step} with learning rate "
        f"{metrics.learning_rate:g}; {last}. Lower training.learning_rate or set "
        "training.clip_norm."
    )
