"""The gate of an export: its answers to test pictures beside those of the SavedModel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inception_finetune.components.export.metadata import ExportMetadata
from inception_finetune.components.export.settings import ExportBound


@dataclass(frozen=True)
class Answers:
    """What a model said to N pictures, and what that took."""

    probabilities: npt.NDArray[np.float32]  # [N, classes]; 0 where a picture could not be read
    milliseconds: float  # for each picture, asked one at a time; the median
    peak_bytes: int  # of the process that loaded it and asked


@dataclass(frozen=True)
class Verdict:
    """An export beside the SavedModel."""

    accuracy: float
    accuracy_loss: float  # negative where it is better
    agreement: float  # share of the pictures that get the same label
    difference: float  # the largest of a probability
    refusals: tuple[str, ...]  # empty where it passed


def judge(
    labels: npt.NDArray[np.int64],
    model: Answers,
    export: Answers,
    bound: ExportBound,
    metadata: Sequence[ExportMetadata],
) -> Verdict:
    """Compares an export with the model that it was made of.

    Args:
      labels: ``[N]``, the truth; N is at least 1.
      model: the SavedModel's answers.
      export: the export's answers to the same pictures.
      bound: what is asked.
      metadata: what the file should say of itself, and what it says.
    """
    expected, stated = metadata
    refusals = []
    if stated.label_names != expected.label_names:
        refusals.append("its label names are not the model's")
    if stated.fingerprint != expected.fingerprint:
        refusals.append("its fingerprint is another model's")
    if export.probabilities.shape != model.probabilities.shape:
        refusals.append(
            f"it answers {export.probabilities.shape}, the model {model.probabilities.shape}"
        )
        return Verdict(0.0, 1.0, 0.0, 1.0, tuple(refusals))
    theirs, ours = (one.probabilities.argmax(axis=1) for one in (model, export))
    accuracy = float((ours == labels).mean())
    loss = float((theirs == labels).mean()) - accuracy
    agreement = float((ours == theirs).mean())
    difference = float(np.abs(export.probabilities - model.probabilities).max())
    if not np.isfinite(export.probabilities).all():
        refusals.append("some of its probabilities are not finite")
    if agreement < bound.min_agreement:
        refusals.append(f"agreement {agreement:.4f} < {bound.min_agreement}")
    if loss > bound.max_accuracy_loss:
        refusals.append(f"accuracy loss {loss:.4f} > {bound.max_accuracy_loss}")
    if bound.max_difference is not None and not difference < bound.max_difference:
        refusals.append(
            f"largest difference of a probability {difference:.2g} is not below "
            f"{bound.max_difference}"
        )
    return Verdict(accuracy, loss, agreement, difference, tuple(refusals))
