"""One optimisation step, and validation, on one device or on several."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras as keras

from inception_finetune.trainer.settings import Training


class StepResult(NamedTuple):
    """Result of a step: values of the whole batch, before its update."""

    loss: float  # cross-entropy, without weight decay
    accuracy: float
    gradient_norm: float  # of all gradients together, before they are clipped


class Validation(NamedTuple):
    """Result of a validation, and its labels and predictions."""

    loss: float  # mean cross-entropy, without label smoothing
    accuracy: float
    labels: npt.NDArray[np.int64]  # [N]
    predictions: npt.NDArray[np.int64]  # [N]


class TrainingStep:
    """Updates the trainable variables of `network`, and its moving statistics.

    The batch is taken from its iterator before it enters the graph. Inside the graph, the rest of
    the step may run in the thread that delivered the batch, and on such a thread oneDNN computes on
    one core: on 2 cores one step in four took twice as long, and now one in thirty does.
    """

    def __init__(
        self, network: keras.Model, training: Training, optimizer: keras.optimizers.Optimizer
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.strategy = tf.distribute.get_strategy()
        self._training = training
        self._kernels = [
            variable for variable in network.trainable_variables if "kernel" in variable.name
        ]
        optimizer.build(network.trainable_variables)

    def train(self, batch: Any) -> StepResult:
        """Runs one step.

        Args:
          batch: ``(inputs [B, ...], labels [B] int64)``, or per-replica values of these.
        """
        loss, accuracy, norm = self._train(batch)
        return StepResult(float(loss), float(accuracy), float(norm))

    def validate(self, batches: tf.data.Dataset) -> Validation:
        """Validates in inference mode, with averaged weights if they are averaged.

        Args:
          batches: of ``(inputs [B, ...], labels [B] int64)``.
        """
        losses, labels, predictions = [], [], []
        with self.averaged():
            for inputs, batch_labels in batches:
                batch_losses, batch_predictions = self._validate(inputs, batch_labels)
                losses.append(batch_losses.numpy())
                labels.append(batch_labels.numpy())
                predictions.append(batch_predictions.numpy())
        truth, predicted = np.concatenate(labels), np.concatenate(predictions)
        mean = float(np.concatenate(losses).mean(dtype=np.float64))
        return Validation(mean, float((truth == predicted).mean()), truth, predicted)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Replaces the weights by their moving averages for the duration of the context."""
        if not self.optimizer.use_ema:
            yield
            return
        variables = self.network.trainable_variables
        values = [variable.numpy() for variable in variables]
        self.optimizer.finalize_variable_values(variables)
        try:
            yield
        finally:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    @tf.function(reduce_retracing=True)
    def _train(self, batch) -> Sequence[tf.Tensor]:
        parts = self.strategy.run(self._on_replica, args=batch)
        loss, accuracy, norm = (
            self.strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None) for part in parts
        )
        return loss, accuracy, norm / self.strategy.num_replicas_in_sync

    def _on_replica(self, inputs: tf.Tensor, labels: tf.Tensor) -> Sequence[tf.Tensor]:
        """Returns this replica's share of loss and accuracy, and the norm of all gradients."""
        replicas = self.strategy.num_replicas_in_sync
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.network(inputs, training=True)
            loss = tf.reduce_mean(self._cross_entropy(labels, logits)) / replicas
            objective = loss + self._penalty() / replicas
        pairs = list(zip(tape.gradient(objective, variables), variables, strict=True))
        pairs = self.optimizer.aggregate_gradients(pairs)
        self.optimizer.apply_gradients(pairs, skip_gradients_aggregation=True)
        hits = tf.equal(tf.argmax(logits, axis=-1), labels)
        accuracy = tf.reduce_mean(tf.cast(hits, tf.float32)) / replicas
        return loss, accuracy, tf.linalg.global_norm([gradient for gradient, _ in pairs])

    def _cross_entropy(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return keras.losses.categorical_crossentropy(
            tf.one_hot(labels, logits.shape[-1]),
            logits,
            from_logits=True,
            label_smoothing=self._training.label_smoothing,
        )

    def _penalty(self) -> tf.Tensor:
        if not self._training.weight_decay:
            return tf.constant(0.0)
        return self._training.weight_decay * tf.add_n(map(tf.nn.l2_loss, self._kernels))

    @tf.function(reduce_retracing=True)
    def _validate(self, inputs: tf.Tensor, labels: tf.Tensor) -> Sequence[tf.Tensor]:
        logits = self.network(inputs, training=False)
        losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        return losses, tf.argmax(logits, axis=-1)
