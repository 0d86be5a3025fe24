"""A warm start: the trained blocks and the head of an earlier model as the first weights."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.label_names import read_label_names
from inception_finetune.components.io.exported_model import load_exported
from inception_finetune.components.warm_start.start import (
    Start,
    next_generation,
    require_same_network,
)
from inception_finetune.trainer.examples import TrainerInputs
from inception_finetune.trainer.model import Classifier
from inception_finetune.trainer.settings import TrainerSettings


@dataclass(frozen=True)
class BaseModel:
    """An exported model that trainings start from."""

    directory: Path
    label_names: tuple[str, ...]
    variables: dict[str, npt.NDArray[np.float32]]  # of the whole network, by Keras' names

    def digest(self) -> str:
        """Returns a hash of all weights and of the classes' names, wherever the model lies."""
        digest = hashlib.sha256("\0".join(self.label_names).encode())
        for name, value in sorted(self.variables.items()):
            digest.update(f"\0{name}\0".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()

    def start(self, label_names: tuple[str, ...]) -> Start:
        """Returns the record of a training of these classes that starts from the model."""
        known, wanted = set(self.label_names), set(label_names)
        return Start(
            model=str(self.directory),
            generation=next_generation(self.directory),
            kept=len(known & wanted),
            added=tuple(name for name in label_names if name not in known),
            dropped=tuple(name for name in self.label_names if name not in wanted),
        )

    def load_into(self, classifier: Classifier, label_names: tuple[str, ...]) -> None:
        """Replaces the weights above the cut, and the head's rows of the classes that are known.

        The trunk is that of the backbone, in both; moving statistics of the trained blocks count
        as weights. What the optimizer averages begins at these weights: it is made later.

        Args:
          classifier: is changed in place; a new class keeps its freshly initialised row.
          label_names: its classes.

        Raises:
          UserError: a variable is missing or has another shape.
        """
        for variable in classifier.upper.weights if classifier.upper is not None else ():
            variable.assign(self._value(variable, variable.shape))
        place = {name: row for row, name in enumerate(self.label_names)}
        known = [row for row, name in enumerate(label_names) if name in place]
        taken = [place[label_names[row]] for row in known]
        for variable in classifier.head.weights:  # kernel [features, classes] and bias [classes]
            rows = self._value(variable, [*variable.shape[:-1], len(self.label_names)])
            values = variable.numpy()
            values[..., known] = rows[..., taken]
            variable.assign(values)

    def _value(self, variable: tf.Variable, shape) -> npt.NDArray[np.float32]:
        value = self.variables.get(variable.name)
        if value is None or list(value.shape) != list(shape):
            found = "missing" if value is None else f"of shape {list(value.shape)}"
            raise UserError(
                f"No warm start from {self.directory}: its variable {variable.name} is {found}, "
                f"and {list(shape)} is needed. Train once with training.start_from=backbone."
            )
        return value


def read_base_model(directory: str | None, settings: TrainerSettings) -> BaseModel | None:
    """Reads the model that a training starts from.

    Args:
      directory: folder of the exported model; None for a cold start.
      settings: of the training.

    Returns:
      The model; None for a cold start.

    Raises:
      UserError: it is damaged, or of another network, backbone, cut or image size.
    """
    if directory is None:
        return None
    path = Path(directory)
    require_same_network(path, settings.model_dump(mode="json"))
    names = read_label_names(path)
    exported = load_exported(path)
    variables = {variable.name: variable.numpy() for variable in exported.network_variables}
    return BaseModel(path, names, variables)


def training_identity(
    settings: TrainerSettings, inputs: TrainerInputs, base_model: BaseModel | None
) -> list[str]:
    """Returns texts on which the weights of a training depend: settings, examples and start."""
    start = [] if base_model is None else [base_model.digest()]
    return [settings.identity, *inputs.digests(), *start]
