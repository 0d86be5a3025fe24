"""Writes the learning curve while training goes on."""

import csv
import io

import tensorflow as tf

from inception_finetune.components.evaluation.learning_curve import COLUMNS, FILE, read_history
from inception_finetune.trainer.loop import EpochFacts, Observer


class History(Observer):
    """Writes the whole table anew after each epoch; goes on with the rows of a killed run."""

    def __init__(self, directory: str, start: int) -> None:
        """Rows after step `start` are forgotten: those epochs run again."""
        self._path = f"{directory}/{FILE}"
        rows = read_history(self._path) if tf.io.gfile.exists(self._path) else []
        self.rows = [row for row in rows if row["step"] <= start]

    def on_epoch(self, facts: EpochFacts) -> None:
        measured = (
            facts.epoch,
            facts.step,
            facts.loss,
            facts.accuracy,
            facts.validation.loss,
            facts.validation.accuracy,
            facts.learning_rate,
        )
        self.rows.append(dict(zip(COLUMNS, measured, strict=True)))
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS)
        table.writeheader()
        table.writerows(self.rows)
        with tf.io.gfile.GFile(f"{self._path}.new", "w") as file:
            file.write(text.getvalue())
        tf.io.gfile.rename(f"{self._path}.new", self._path, overwrite=True)
