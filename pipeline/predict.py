"""Classifies pictures with a pushed model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components import features
from components.errors import UserError
from components.label_names import read_label_names
from pipeline.pictures import Picture, read_pictures

LIKELIEST: Final = 3  # classes in a row of the table


@dataclass(frozen=True)
class Prediction:
    picture: Picture
    label_id: int
    label_name: str
    probabilities: dict[str, float]  # by label name, in the order of the ids

    @property
    def right(self) -> bool | None:
        """None where the truth is not known."""
        return None if self.picture.truth is None else self.picture.truth == self.label_name


def predict(model_directory: Path, places: Sequence[Path]) -> list[Prediction]:
    """Runs the signature ``predict_images`` on the pictures in `places`: files, folders, records.

    Raises:
      UserError: no model there, or a file that is not a whole picture; nothing is predicted then.
    """
    if not (model_directory / "saved_model.pb").is_file():
        raise UserError(
            f"a model must be a SavedModel directory. {model_directory} holds no saved_model.pb; "
            "run the pipeline first or give --model DIR"
        )
    names = read_label_names(model_directory)
    pictures = read_pictures(places, names)

    import tensorflow as tf

    model = tf.saved_model.load(str(model_directory))
    answer = model.signatures["predict_images"](
        images=tf.constant([picture.encoded for picture in pictures])
    )
    for picture, error in zip(pictures, answer[features.ERROR].numpy(), strict=True):
        if error:
            raise UserError(
                f"{error.decode()}. Received: {picture.name}; replace or leave out that file"
            )
    return [
        Prediction(picture, int(label_id), label_name.decode(), dict(zip(names, row, strict=True)))
        for picture, label_id, label_name, row in zip(
            pictures,
            answer[features.LABEL_ID].numpy(),
            answer[features.LABEL_NAME].numpy(),
            np.asarray(answer[features.PROBABILITIES]).tolist(),
            strict=True,
        )
    ]


def print_predictions(predictions: Sequence[Prediction], console: Console) -> None:
    """A table: one row a picture, its label, the truth if known, and the likeliest classes."""
    judged = [prediction.right for prediction in predictions if prediction.right is not None]
    table = Table()
    table.add_column("image", overflow="fold")
    table.add_column("label")
    if judged:
        table.add_column("truth")
    table.add_column("probabilities")
    for prediction in predictions:
        ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[:LIKELIEST]
        cells = [escape(prediction.picture.name), f"{prediction.label_id} {prediction.label_name}"]
        if judged:
            truth = prediction.picture.truth or ""
            cells.append(f"[red]{truth}[/]" if prediction.right is False else truth)
        table.add_row(*cells, ", ".join(f"{name} {share:.3f}" for name, share in ranked))
    console.print(table)
    if judged:
        console.print(f"{sum(judged):,} of {len(judged):,} right", highlight=False)
