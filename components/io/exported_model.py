"""Loads an exported model, which another version may have written or a copy have damaged."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from inception_finetune.components.errors import UserError, in_short


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
