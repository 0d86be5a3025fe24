"""Observers of training besides TensorBoard: the learning curve on disk, the terminal's lines."""

import csv
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from inception_finetune.components.evaluation.learning_curve import COLUMNS, FILE, read_history
from inception_finetune.components.progress import Advance, progress
from inception_finetune.trainer.loop import EpochMetrics, Observer, Schedule, StepMetrics


class History(Observer):
    """Writes the learning curve after each epoch; continues that of a killed run."""

    def __init__(self, directory: str, start: int) -> None:
        """Reads the rows of a killed run.

        Args:
          directory: of the logs.
          start: number of completed steps; later rows are dropped, as those epochs run again.
        """
        self._path = f"{directory}/{FILE}"
        rows = read_history(self._path) if tf.io.gfile.exists(self._path) else []
        self.rows = [row for row in rows if row["step"] <= start]

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Rewrites the table with one more row."""
        values = (
            metrics.epoch,
            metrics.step,
            metrics.loss,
            metrics.accuracy,
            metrics.validation.loss,
            metrics.validation.accuracy,
            metrics.learning_rate,
        )
        self.rows.append(dict(zip(COLUMNS, values, strict=True)))
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS)
        table.writeheader()
        table.writerows(self.rows)
        with tf.io.gfile.GFile(f"{self._path}.new", "w") as file:
            file.write(text.getvalue())
        tf.io.gfile.rename(f"{self._path}.new", self._path, overwrite=True)


class ProgressLines(Observer):
    """Shows a bar with loss and accuracy, and prints a line for each epoch."""

    def __init__(self, advance: Advance, schedule: Schedule) -> None:
        self._advance = advance
        self._schedule = schedule
        self._epochs = -(-schedule.total_steps // schedule.steps_per_epoch)

    def on_step(self, metrics: StepMetrics) -> None:
        """Advances the bar."""
        note = f"loss {metrics.loss:.3f}  accuracy {metrics.accuracy:.3f}"
        self._advance(metrics.steps * self._schedule.training.batch_size, note)

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Prints the epoch's line."""
        line = (
            f"epoch {metrics.epoch}/{self._epochs}: "
            f"loss {metrics.loss:.4f}, accuracy {metrics.accuracy:.4f}; validation "
            f"loss {metrics.validation.loss:.4f}, accuracy {metrics.validation.accuracy:.4f}"
        )
        print(line, file=sys.stderr, flush=True)


@contextmanager
def progress_lines(schedule: Schedule, start: int) -> Iterator[ProgressLines]:
    """Yields the observer of the terminal.

    Args:
      schedule: length of the training.
      start: number of steps that an earlier run completed.
    """
    size = schedule.training.batch_size
    if start:
        print(f"training: goes on after step {start:,}", file=sys.stderr, flush=True)
    with progress("training", schedule.total_steps * size, "images", done=start * size) as advance:
        yield ProgressLines(advance, schedule)
