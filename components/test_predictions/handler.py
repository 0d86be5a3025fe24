"""Beam's model handler for exported models: serialized examples to probabilities, in batches."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler

from inception_finetune.components import features
from inception_finetune.components.beam.watched import advance
from inception_finetune.components.image.undecodable import undecodable_image
from inception_finetune.components.steps import Step
from inception_finetune.components.test_predictions.settings import PredictionSettings
from inception_finetune.components.test_predictions.store import Prediction

Signature = Callable[..., dict[str, tf.Tensor]]


class Signatures(dict[str, Signature]):
    """By feature key. A class of its own: Beam shares models by weak references."""


class ExportedModels(ModelHandler[bytes, Prediction, Signatures]):
    """Asks the candidate and the baseline about the same batch, in one pass over the examples."""

    def __init__(
        self,
        directories: Mapping[str, str],
        settings: PredictionSettings,
        orders: Mapping[str, Sequence[int]],
    ) -> None:
        """Models are known by the feature that their probabilities go to.

        Args:
          directories: the SavedModels.
          settings: what both are asked with.
          orders: of a model whose classes are numbered otherwise than the candidate's, where each
            of the candidate's stands in its answer.
        """
        super().__init__(min_batch_size=1, max_batch_size=settings.batch_size)
        self._directories = dict(directories)
        self._settings = settings
        self._orders = {key: list(order) for key, order in orders.items()}

    def load_model(self) -> Signatures:
        """Loads each SavedModel's signature, once in a worker."""
        return Signatures(
            (key, tf.saved_model.load(directory).signatures[self._settings.signature])
            for key, directory in self._directories.items()
        )

    def run_inference(
        self,
        batch: Sequence[bytes],
        model: Signatures,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[Prediction]:
        """Answers to a batch of serialized examples, one for each.

        Raises:
          UserError: an image cannot be decoded.
        """
        try:
            outputs = {
                key: signature(examples=tf.constant(batch)) for key, signature in model.items()
            }
        except tf.errors.InvalidArgumentError as error:
            raise undecodable_image(batch) or error from error
        answers = {key: output[features.PROBABILITIES].numpy() for key, output in outputs.items()}
        answers |= {key: answers[key][:, order] for key, order in self._orders.items()}
        unknown = outputs[features.CANDIDATE].get(features.UNKNOWN)
        in_set = outputs[features.CANDIDATE].get(features.IN_SET)
        advance(len(batch))
        for index, serialized in enumerate(batch):
            feature = tf.train.Example.FromString(serialized).features.feature
            [identity] = feature[features.IMAGE_ID].bytes_list.value
            [label] = feature[features.LABEL].int64_list.value
            rows: dict[str, np.ndarray] = {key: rows[index] for key, rows in answers.items()}
            yield Prediction(
                identity,
                label,
                rows,
                None if unknown is None else bool(unknown[index]),
                None if in_set is None else bool(in_set[index][label]),
            )

    def get_metrics_namespace(self) -> str:
        """Under which Beam counts."""
        return Step.TEST_PREDICTIONS
