"""Loads an exported model, which another version may have written or a copy have damaged."""

from pathlib import Path
from typing import Any, Final

import tensorflow as tf

from inception_finetune.components.errors import UserError

_LONGEST: Final = 120  # characters of a library's own words


def load_exported(directory: Path) -> Any:
    """Loads a SavedModel.

    Args:
      directory: its folder.

    Returns:
      What TensorFlow makes of it.

    Raises:
      UserError: there is none, or it is damaged.
    """
    if not (directory / "saved_model.pb").is_file():
        raise UserError(
            f"No saved_model.pb in {directory}. "
            "Run the pipeline first, or give the folder of a SavedModel as --model DIR."
        )
    try:
        return tf.saved_model.load(str(directory))
    except Exception as error:  # TensorFlow raises whatever damaged graphs and files lead it to
        raise UserError(
            f"Model {directory} cannot be loaded ({in_short(error)}). "
            "Push it again, or give another --model DIR."
        ) from error


def in_short(error: Exception) -> str:
    """Returns an exception of TensorFlow, which may have pages, in part of a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST]}"
