"""The learning curve as a table: a row for each epoch, in ``history.csv``."""

import csv
import io

import tensorflow as tf

from trainer.loop import EpochFacts, Observer

FILE = "history.csv"
COLUMNS = ("epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


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


def read_history(path: str) -> list[dict[str, float]]:
    """The rows, by `COLUMNS`."""
    with tf.io.gfile.GFile(path) as file:
        return [
            {column: float(value) for column, value in row.items()}
            for row in csv.DictReader(io.StringIO(file.read()))
        ]
