"""Classifies picture files with a pushed model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from components import features
from components.errors import UserError

READABLE = ("PNG", "JPEG")


@dataclass(frozen=True)
class Prediction:
    path: Path
    label_id: int
    label_name: str
    probabilities: dict[str, float]  # by label name, in the order of the ids


def predict(model_directory: Path, images: Sequence[Path]) -> list[Prediction]:
    """Runs the signature ``predict_images`` on the files' bytes.

    Raises:
      UserError: no model there, or a file that is not a whole picture; nothing is predicted then.
    """
    if not (model_directory / "saved_model.pb").is_file():
        raise UserError(
            f"a model must be a SavedModel directory. {model_directory} holds no saved_model.pb; "
            "run the pipeline first or give --model DIR"
        )
    encoded = [_read_picture(path) for path in images]

    import tensorflow as tf

    model = tf.saved_model.load(str(model_directory))
    answer = model.signatures["predict_images"](images=tf.constant(encoded))
    for path, error in zip(images, answer[features.ERROR].numpy(), strict=True):
        if error:
            raise UserError(f"{error.decode()}. Received: {path}; replace or leave out that file")
    names = _label_names(model_directory)
    return [
        Prediction(path, int(label_id), label_name.decode(), dict(zip(names, row, strict=True)))
        for path, label_id, label_name, row in zip(
            images,
            answer[features.LABEL_ID].numpy(),
            answer[features.LABEL_NAME].numpy(),
            np.asarray(answer[features.PROBABILITIES]).tolist(),
            strict=True,
        )
    ]


def _read_picture(path: Path) -> bytes:
    """The file's bytes, once Pillow has decoded all of it."""
    try:
        with Image.open(path, formats=READABLE) as picture:
            picture.load()
        return path.read_bytes()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition(" %r")[0]
        raise UserError(
            f"a picture must be a whole {', '.join(READABLE)} file. Received: {path} ({reason}); "
            "replace or leave out that file"
        ) from None


def _label_names(model_directory: Path) -> list[str]:
    text = (model_directory / features.EXTRA_ASSETS / features.LABELS_FILE).read_text("utf-8")
    return [line.partition(":")[2] for line in text.splitlines()]


def print_predictions(predictions: Sequence[Prediction], console: Console) -> None:
    """A table: one row a picture, the label, and every class's probability."""
    table = Table()
    table.add_column("image", overflow="fold")
    table.add_column("label")
    for name in predictions[0].probabilities:
        table.add_column(name, justify="right")
    for prediction in predictions:
        shares = [
            f"[bold]{share:.3f}[/]" if name == prediction.label_name else f"{share:.3f}"
            for name, share in prediction.probabilities.items()
        ]
        label = f"{prediction.label_id} {prediction.label_name}"
        table.add_row(str(prediction.path), label, *shares)
    console.print(table)
