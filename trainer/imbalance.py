"""What is done about rare classes: weights in the loss, and how often examples are drawn."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from inception_finetune.components.errors import UserError

_BETA = 0.999  # of the effective number of samples


def class_weights(
    choice: str | Mapping[str, float], labels: npt.NDArray[np.int64], names: Sequence[str]
) -> npt.NDArray[np.float32] | None:
    """Returns the weight of each class in the loss.

    Weights that are computed have mean 1 over the train examples. ``balanced`` is inverse to the
    number of train examples, ``effective`` to their effective number, which grows more slowly
    (https://arxiv.org/abs/1901.05555, equation 2).

    Args:
      choice: ``none``, ``balanced``, ``effective`` or weights by name; classes without are 1.
      labels: of the train examples, ``[N]``.
      names: of all classes.

    Returns:
      ``[classes]`` float32, or None if all classes weigh the same.

    Raises:
      UserError: a name is of no class.
    """
    if isinstance(choice, Mapping):
        if unknown := sorted(set(choice) - set(names)):
            raise UserError(
                f"training.class_weights names {', '.join(map(repr, unknown))}, which no class of "
                f"the dataset is called. Write names of {', '.join(names)}."
            )
        return np.array([choice.get(name, 1.0) for name in names], np.float32)
    if choice == "none":
        return None
    counts = np.bincount(labels[labels >= 0], minlength=len(names))
    if choice == "balanced":
        numbers: npt.NDArray = counts.astype(np.float64)
    else:
        numbers = (1 - _BETA**counts) / (1 - _BETA)
    weights = np.divide(1.0, numbers, out=np.zeros(len(names)), where=counts > 0)
    return (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)


def sampling_chances(
    balance: float, labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64] | None:
    """Returns the chance of each example to be drawn.

    Args:
      balance: from 0, every example alike, to 1, every class alike.
      labels: of the train examples, ``[N]``.

    Returns:
      ``[N]`` float64 with sum 1; None if each example is to be taken once an epoch.
    """
    if not balance:
        return None
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    chances = counts[classes].astype(np.float64) ** -balance
    return chances / chances.sum()
