"""The learning curve of a training as a table: a row for each epoch."""

import csv
import io
from typing import Final

import tensorflow as tf

FILE: Final = "history.csv"  # in the logs that a training leaves behind
COLUMNS: Final = (
    "epoch",
    "step",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
)


def read_history(path: str) -> list[dict[str, float]]:
    """The rows, by `COLUMNS`."""
    with tf.io.gfile.GFile(path) as file:
        return [
            {column: float(value) for column, value in row.items()}
            for row in csv.DictReader(io.StringIO(file.read()))
        ]
