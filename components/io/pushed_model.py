"""A pushed model that answers pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from inception_finetune.components import features
from inception_finetune.components.errors import UserError, in_short
from inception_finetune.components.evaluation.label_names import read_label_names
from inception_finetune.components.features import LABELS_FILE
from inception_finetune.components.io.picture_answers import Answers

SIGNATURE: Final = "predict_images"


class PushedModel:
    """The signature ``predict_images`` of a SavedModel, and the names of its classes."""

    def __init__(self, directory: Path) -> None:
        """Loads the model.

        Args:
          directory: the folder of the SavedModel.

        Raises:
          UserError: no model is there, it cannot be loaded, or it lacks names or the signature.
        """
        self.directory = directory
        self.label_names = read_label_names(directory)
        from inception_finetune.components.io.exported_model import load_exported

        self.loaded: Any = load_exported(directory)
        self._signature = self.loaded.signatures.get(SIGNATURE)
        outputs = self._signature.structured_outputs if self._signature else {}
        if not {features.PROBABILITIES, features.ERROR} <= outputs.keys():
            raise UserError(
                f"Model {directory} has no signature {SIGNATURE} that gives "
                f"{features.PROBABILITIES} and {features.ERROR}. Give a model that the pipeline "
                "pushed."
            )

    def answer(self, encoded: Sequence[bytes]) -> Answers:
        """Classifies pictures.

        Args:
          encoded: content of each file.

        Returns:
          What the model says of each.

        Raises:
          UserError: the model fails, or answers with another number of classes than it names.
        """
        import tensorflow as tf

        try:
            answer = self._signature(images=tf.constant(list(encoded), tf.string))
        except (tf.errors.OpError, TypeError) as error:
            raise UserError(
                f"Model {self.directory} does not answer ({in_short(error)}). "
                "Push it again, or give another --model DIR."
            ) from error
        probabilities = answer[features.PROBABILITIES].numpy()
        classes, names = probabilities.shape[-1], len(self.label_names)
        if classes != names:
            raise UserError(
                f"Model {self.directory} tells {classes} classes apart, and its {LABELS_FILE} "
                f"names {names}. Push it again, or give another --model DIR."
            )
        in_set, unknown = (
            answer[key].numpy() if key in answer else None
            for key in (features.IN_SET, features.UNKNOWN)
        )
        errors = [error.decode() for error in answer[features.ERROR].numpy()]
        return Answers(probabilities, errors, in_set, unknown)
