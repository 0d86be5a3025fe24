"""Fits what the exported model says of its own answers, once its weights are final."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy import special

from inception_finetune.components.evaluation.confidence import (
    FittedConfidence,
    Novelty,
    fit_space,
    fit_temperature,
    smallest_in_set,
    unknown_from,
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
    novelty = smallest = None
    if wanted.false_unknown is not None:
        trained = [vectors for vectors, _, _ in _outputs(trainee, train, size, _EMBEDDED)]
        novelty = fit_space(np.concatenate(trained).astype(np.float64))
    # Of the validation pictures, however many, a distance is kept and not the embedding.
    parts = [
        (novelty.distances(vectors) if novelty else None, logits, labels)
        for vectors, logits, labels in _outputs(trainee, validation, size)
    ]
    distances, all_logits, all_labels = zip(*parts, strict=True)
    logits, labels = np.concatenate(all_logits).astype(np.float64), np.concatenate(all_labels)
    temperature = fit_temperature(logits, labels) if wanted.temperature else 1.0
    if wanted.coverage is not None:
        shares = special.softmax(logits / temperature, axis=1)
        smallest = smallest_in_set(shares[np.arange(len(labels)), labels], wanted.coverage)
    if novelty is not None and wanted.false_unknown is not None:
        threshold = unknown_from(np.concatenate(distances), wanted.false_unknown)
        novelty = replace(novelty, threshold=threshold)
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
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
    """Yields embeddings ``[B, features]``, logits ``[B, classes]`` and labels ``[B]``."""
    embed = tf.function(lambda inputs: trainee.embedding(inputs, training=False))
    for inputs, labels in source.batches(batch_size, count):
        vectors, logits = (tf.cast(output, tf.float32).numpy() for output in embed(inputs))
        yield vectors, logits, labels.numpy()
