"""Predictions as rows: the same columns in JSON lines, CSV and Parquet."""

from typing import TYPE_CHECKING, Any, Final

from inception_finetune.pipeline.prediction.predict import Prediction

if TYPE_CHECKING:
    import pyarrow as pa

PICTURE: Final = "picture"
TRUTH: Final = "truth"
ERROR: Final = "error"
UNKNOWN: Final = "unknown"
SET: Final = "prediction_set"
# Columns that are no text, by how they begin.
_NO_TEXT: Final = ("label_id", "probability", UNKNOWN, SET)


def columns(top: int) -> list[str]:
    """Returns the names of the columns.

    Args:
      top: classes in a row, at least 1.

    Returns:
      ``picture``, ``truth``, ``error``, ``label_id``, ``label``, ``probability``, ``unknown``,
      ``prediction_set``, and for each further class ``label_2``, ``probability_2`` and so on.
    """
    further = [
        f"{name}_{place}" for place in range(2, top + 1) for name in ("label", "probability")
    ]
    return [PICTURE, TRUTH, ERROR, "label_id", "label", "probability", UNKNOWN, SET, *further]


def is_text(column: str) -> bool:
    """Returns whether a column holds text."""
    return not column.startswith(_NO_TEXT)


def row_of(prediction: Prediction, top: int) -> dict[str, Any]:
    """Returns the row of a prediction, by the name of the column.

    Args:
      prediction: of one picture.
      top: classes in a row; what the model does not have is None.

    Returns:
      None stands for an unknown truth, for no error, and where there is one, for all answers; and
      for what the model does not say.
      Probabilities have the digits that tell a float32 from its neighbours.
    """
    row: dict[str, Any] = dict.fromkeys(columns(top))
    row[PICTURE] = prediction.picture.name
    row[TRUTH] = prediction.picture.truth
    if prediction.error:
        row[ERROR] = prediction.error
        return row
    row["label_id"] = prediction.label_id
    row[UNKNOWN] = prediction.unknown
    if prediction.prediction_set is not None:
        row[SET] = list(prediction.prediction_set)
    for place, (label, share) in enumerate(prediction.ranked(top), start=1):
        end = "" if place == 1 else f"_{place}"
        row[f"label{end}"], row[f"probability{end}"] = label, float(str(share))
    return row


def utf8_row(row: dict[str, Any]) -> dict[str, Any]:
    r"""Returns the row for what takes UTF-8 alone: other bytes of a file's name are ``\udcXX``."""
    return {
        name: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


def parquet_schema(top: int) -> "pa.Schema":
    """Returns Parquet's types of the columns."""
    import pyarrow as pa

    types = {"label_id": pa.int32(), UNKNOWN: pa.bool_(), SET: pa.list_(pa.string())}
    return pa.schema(
        [
            (name, pa.string() if is_text(name) else types.get(name, pa.float32()))
            for name in columns(top)
        ]
    )
