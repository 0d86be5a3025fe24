"""Asks an exported model where it looks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from inception_finetune.components import features
from inception_finetune.components.errors import UserError, in_short

_BATCH: Final = 32  # pictures that the model is given at a time


class Explanation(NamedTuple):
    """Where a picture speaks for the class that the model takes it for."""

    label_name: str  # of that class
    probability: float  # of that class
    map: npt.NDArray[np.float32]  # [h, w] in [0, 1]; all 0 where nothing speaks for the class
    box: npt.NDArray[np.float32]  # [4], what it covers: top, left, bottom, right, in shares


def can_explain(loaded: Any) -> bool:
    """Returns whether a loaded SavedModel says where it looks."""
    return features.EXPLAIN_IMAGES in loaded.signatures


def explain(loaded: Any, directory: Path, encoded: Sequence[bytes]) -> list[Explanation | None]:
    """Explains the model's answers, a few pictures at a time.

    Args:
      loaded: a SavedModel.
      directory: its folder, for messages.
      encoded: PNG or JPEG files' content.

    Returns:
      One for each picture; None where it cannot be read.

    Raises:
      UserError: the model does not say where it looks, or does not answer.
    """
    import tensorflow as tf

    signature = loaded.signatures.get(features.EXPLAIN_IMAGES)
    if signature is None:
        raise UserError(
            f"Model {directory} has no signature {features.EXPLAIN_IMAGES}: it was trained by an "
            "older version or with explain.block=null. Run the pipeline again, or give another "
            "--model DIR."
        )
    found: list[Explanation | None] = []
    for start in range(0, len(encoded), _BATCH):
        batch = tf.constant(list(encoded[start : start + _BATCH]), tf.string)
        try:
            answer = {key: value.numpy() for key, value in signature(images=batch).items()}
        except (tf.errors.OpError, TypeError) as error:
            raise UserError(
                f"Model {directory} does not say where it looks ({in_short(error)}). "
                "Push it again, or give another --model DIR."
            ) from error
        found += [
            None
            if answer[features.ERROR][place]
            else Explanation(
                answer[features.LABEL_NAME][place].decode(),
                float(answer[features.PROBABILITY][place]),
                answer[features.MAP][place],
                answer[features.BOX][place],
            )
            for place in range(len(answer[features.ERROR]))
        ]
    return found
