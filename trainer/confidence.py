"""Fits what the exported model says of its own answers, once its weights are final."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy import special

from inception_finetune.components.evaluation.confidence import (
    FittedConfidence,
    Novelty,
    fit_novelty,
    fit_temperature,
    smallest_in_set,
)
from inception_finetune.trainer.input_fn import Source
from inception_finetune.trainer.model import Trainee
from inception_finetune.trainer.settings import TrainerSettings

_EMBEDDED: Final = 2048  # train pictures that new ones are held against; their order is random


@dataclass(frozen=True)
class Confidence:
    """What the exported model says of its answers; None where it does not."""

    temperature: float  # logits are divided by it
    smallest_in_set: float | None  # the probability from which on a class is in the prediction set
    novelty: Novelty | None  # from what distance on a picture is unknown


UNFITTED: Final = Confidence(1.0, None, None)


def fit_confidence(
    trainee: Trainee, train: Source, validation: Source, settings: TrainerSettings
) -> tuple[Confidence, FittedConfidence]:
    """Fits temperature, prediction sets and the distance of unknown pictures.

    Args:
      trainee: with its final weights.
      train: the train examples.
      validation: the validation examples.
      settings: of the training.

    Returns:
      What the exported model is given, and what is written beside it.
    """
    wanted, size = settings.confidence, settings.training.batch_size
    vectors, logits, labels = _outputs(trainee, validation, size)
    temperature = fit_temperature(logits, labels) if wanted.temperature else 1.0
    smallest = novelty = None
    if wanted.coverage is not None:
        shares = special.softmax(logits / temperature, axis=1)
        smallest = smallest_in_set(shares[np.arange(len(labels)), labels], wanted.coverage)
    if wanted.false_unknown is not None:
        trained, _, _ = _outputs(trainee, train, size, _EMBEDDED)
        novelty = fit_novelty(trained, vectors, wanted.false_unknown)
    facts = FittedConfidence(
        pictures=len(labels),
        temperature=temperature,
        coverage=wanted.coverage,
        smallest_in_set=smallest,
        false_unknown=wanted.false_unknown,
        unknown_from=novelty and novelty.threshold,
    )
    return Confidence(temperature, smallest, novelty), facts


def _outputs(
    trainee: Trainee, source: Source, batch_size: int, count: int | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Returns embeddings ``[N, features]``, logits ``[N, classes]`` and labels ``[N]``."""
    embed = tf.function(lambda inputs: trainee.embedding(inputs, training=False))
    vectors, logits, labels = [], [], []
    for inputs, batch_labels in source.batches(batch_size, count):
        vector, logit = embed(inputs)
        vectors.append(tf.cast(vector, tf.float64).numpy())
        logits.append(tf.cast(logit, tf.float64).numpy())
        labels.append(batch_labels.numpy())
    return np.concatenate(vectors), np.concatenate(logits), np.concatenate(labels)
