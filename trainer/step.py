"""One optimisation step, and validation, on one device or on several."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras as keras

from inception_finetune.trainer.model import Trainee
from inception_finetune.trainer.optimizers import ParameterGroup
from inception_finetune.trainer.settings import Training


class StepResult(NamedTuple):
    """Result of a step: values of the whole batch, before its update; float32 scalars."""

    loss: tf.Tensor  # cross-entropy or focal loss, weighted; without weight decay
    accuracy: tf.Tensor  # how often the most probable class is that of the larger part of the blend
    gradient_norm: tf.Tensor  # of all gradients together, before they are clipped


class Validation(NamedTuple):
    """Result of a validation, and its labels and predictions."""

    loss: float  # mean cross-entropy, without label smoothing
    accuracy: float
    labels: npt.NDArray[np.int64]  # [N]
    predictions: npt.NDArray[np.int64]  # [N]


class TrainingStep:
    """Updates the trainable variables of a network, and its moving statistics.

    The batch is taken from its iterator before it enters the graph. Inside the graph, the rest of
    the step may run in the thread that delivered the batch, and on such a thread oneDNN computes on
    one core: on 2 cores one step in four took twice as long, and now one in thirty does.
    """

    def __init__(
        self,
        trainee: Trainee,
        training: Training,
        groups: Sequence[ParameterGroup],
        class_weights: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Prepares the step.

        Args:
          trainee: what is trained.
          training: settings of the training.
          groups: all variables that are trained, and what updates them; the head's come first.
          class_weights: weight of each class in the loss, ``[classes]``; None for the same.
        """
        self.network = trainee.network
        self.groups = list(groups)
        self.strategy = tf.distribute.get_strategy()
        self._trainee = trainee
        self._training = training
        self._class_weights = class_weights

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """The optimizer of each group."""
        return [group.optimizer for group in self.groups]

    @property
    def learning_rate(self) -> float:
        """The head's rate at the last step."""
        return float(self.groups[0].optimizer.learning_rate.numpy())

    def train(self, batch: Any, number: int) -> StepResult:
        """Runs one step, and waits for nothing of it.

        Args:
          batch: ``(inputs [B, ...], targets [B, classes] float32)``, or per-replica values of
            these.
          number: of the step, from 0.
        """
        groups = sum(number >= group.first_step for group in self.groups)
        return StepResult(*self._train(batch, groups))

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
        if self._training.ema_momentum is None:
            yield
            return
        variables = self.network.trainable_variables
        values = [variable.numpy() for variable in variables]
        self.finalize()
        try:
            yield
        finally:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def finalize(self) -> None:
        """Replaces the weights by their moving averages, if the settings ask for them."""
        if self._training.ema_momentum is not None:
            for group in self.groups:
                group.optimizer.finalize_variable_values(group.variables)

    @tf.function(reduce_retracing=True)
    def _train(self, batch, groups: int) -> Sequence[tf.Tensor]:
        parts = self.strategy.run(self._on_replica, args=(*batch, groups))
        loss, accuracy, norm = (
            self.strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None) for part in parts
        )
        return loss, accuracy, norm / self.strategy.num_replicas_in_sync

    def _on_replica(
        self, inputs: tf.Tensor, targets: tf.Tensor, groups: int
    ) -> Sequence[tf.Tensor]:
        """Returns this replica's share of loss and accuracy, and the norm of all gradients."""
        replicas = self.strategy.num_replicas_in_sync
        active = self.groups[:groups]
        with tf.GradientTape() as tape:
            logits = self._logits(inputs, head_only=groups < len(self.groups))
            loss = tf.reduce_mean(self._losses(targets, logits)) / replicas
            objective = loss + self._penalty(active) / replicas
        variables = [variable for group in active for variable in group.variables]
        pairs = list(zip(tape.gradient(objective, variables), variables, strict=True))
        gradients = [gradient for gradient, _ in active[0].optimizer.aggregate_gradients(pairs)]
        norm = tf.linalg.global_norm(gradients)
        if self._training.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self._training.clip_norm, norm)
        rest = iter(gradients)
        for group in active:
            updates = [(next(rest), variable) for variable in group.variables]
            group.optimizer.apply_gradients(updates, skip_gradients_aggregation=True)
        hits = tf.equal(tf.argmax(logits, axis=-1), tf.argmax(targets, axis=-1))
        accuracy = tf.reduce_mean(tf.cast(hits, tf.float32)) / replicas
        return loss, accuracy, norm

    def _logits(self, inputs: tf.Tensor, *, head_only: bool) -> tf.Tensor:
        if not head_only:
            return self.network(inputs, training=True)
        # In inference mode, so that the moving statistics of blocks that are frozen stay, too.
        vector, _ = self._trainee.embedding(inputs, training=False)
        return self._trainee.head(vector, training=True)

    def _losses(self, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each example, ``[B]``."""
        arguments = {"from_logits": True, "label_smoothing": self._training.label_smoothing}
        if self._training.focal_gamma:
            losses = keras.losses.categorical_focal_crossentropy(
                targets, logits, alpha=1.0, gamma=self._training.focal_gamma, **arguments
            )
        else:
            losses = keras.losses.categorical_crossentropy(targets, logits, **arguments)
        if self._class_weights is None:
            return losses
        return losses * tf.linalg.matvec(targets, tf.constant(self._class_weights))

    def _penalty(self, groups: Sequence[ParameterGroup]) -> tf.Tensor:
        """Returns the weight decay that is a part of the loss; AdamW's is in its update."""
        if not self._training.weight_decay or self._training.optimizer == "adamw":
            return tf.constant(0.0)
        kernels = [
            variable
            for group in groups
            for variable in group.variables
            if "kernel" in variable.name
        ]
        return self._training.weight_decay * tf.add_n(map(tf.nn.l2_loss, kernels))

    @tf.function(reduce_retracing=True)
    def _validate(self, inputs: tf.Tensor, labels: tf.Tensor) -> Sequence[tf.Tensor]:
        logits = self.network(inputs, training=False)
        losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        return losses, tf.argmax(logits, axis=-1)
