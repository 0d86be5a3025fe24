"""The training loop: steps, validation, checkpoints; continues where a killed run stopped."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.components.errors import UserError
from inception_finetune.trainer.checkpoints import Checkpoints
from inception_finetune.trainer.settings import Training
from inception_finetune.trainer.step import StepResult, TrainingStep, Validation


class StepMetrics(NamedTuple):
    """Measurements of the steps since the last ones: means, but for `step` and the rate."""

    step: int  # the last of them, from 1
    steps: int  # how many they are
    loss: float
    accuracy: float
    gradient_norm: float
    learning_rate: float  # of the last step
    seconds: float  # a step, waiting for its batch included


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
        """Is called every `log_every` steps, at the end of epochs and before checkpoints."""

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Is called after each epoch."""

    def before_save(self) -> None:
        """Is called before each checkpoint, to flush to disk: earlier steps are not repeated."""


class EpochMeans:
    """Means of loss and accuracy over the steps of an epoch; kept in checkpoints."""

    def __init__(self) -> None:
        self.sums = tf.Variable([0.0, 0.0, 0.0], dtype=tf.float64, trainable=False)

    def update(self, metrics: StepMetrics) -> None:
        """Adds steps."""
        self.sums.assign_add(np.array([1.0, metrics.loss, metrics.accuracy]) * metrics.steps)

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
    log_every: int  # steps
    training: Training

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch is over after `step`, which is counted from 1."""
        return step % self.steps_per_epoch == 0 or step == self.total_steps

    def is_saved(self, step: int) -> bool:
        """Whether a checkpoint is written after `step`."""
        return self.ends_epoch(step) or step % self.checkpoint_every == 0

    def is_logged(self, step: int) -> bool:
        """Whether metrics are fetched after `step`; what is saved was checked before."""
        return self.is_saved(step) or step % self.log_every == 0


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
    steps = () if stopped else _steps(step, schedule, batches(start), start, checkpoints.directory)
    for metrics in steps:
        means.update(metrics)
        for observer in observers:
            observer.on_step(metrics)
        ends_epoch = schedule.ends_epoch(metrics.step)
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
        if schedule.is_saved(metrics.step):
            for observer in observers:
                observer.before_save()
            checkpoints.save(metrics.step)
        if ends_epoch and _is_over(epoch.epoch, checkpoints, training):
            break
    if training.restore_best and checkpoints.best_epoch:
        checkpoints.restore_best()
    else:
        step.finalize()


def _steps(
    step: TrainingStep, schedule: Schedule, batches: Iterable, start: int, directory: str
) -> Iterator[StepMetrics]:
    """Runs all steps; results are waited for only where they are wanted."""
    iterator = iter(batches)
    results: list[StepResult] = []
    started = time.perf_counter()
    for number in range(start, schedule.total_steps):
        results.append(step.train(next(iterator), number))
        if not schedule.is_logged(number + 1):
            continue
        values = tf.stack([tf.stack(result) for result in results]).numpy().astype(np.float64)
        _check_finite(values, number + 1, step.learning_rate, directory)
        seconds = (time.perf_counter() - started) / len(results)
        # What the optimizer now says is the rate that this step was made with.
        loss, accuracy, norm = map(float, values.mean(axis=0))
        yield StepMetrics(
            number + 1, len(results), loss, accuracy, norm, step.learning_rate, seconds
        )
        results, started = [], time.perf_counter()


def _is_over(epoch: int, checkpoints: Checkpoints, training: Training) -> bool:
    return training.patience is not None and epoch - checkpoints.best_epoch >= training.patience


def _check_finite(
    values: npt.NDArray[np.float64], last: int, learning_rate: float, directory: str
) -> None:
    """Raises UserError at the first step whose results are not finite.

    Args:
      values: a `StepResult` of each step, [steps, 3].
      last: number of the last of these steps, from 1.
      learning_rate: of the last step.
      directory: of the checkpoints.
    """
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if not len(wrong):
        return
    loss, _, norm = values[wrong[0]]
    latest = tf.train.latest_checkpoint(f"{directory}/state")
    saved = f"the last finite state is {latest}" if latest else "no finite state was saved before"
    raise UserError(
        f"Loss {loss:g} or gradient norm {norm:g} is not finite at step "
        f"{last - len(values) + wrong[0] + 1} with learning rate {learning_rate:g}; {saved}. Lower "
        "training.learning_rate or set training.clip_norm."
    )
