"""The network that is trained: frozen trunk, upper blocks and head, and how it is optimised."""

from dataclasses import dataclass

import tf_keras as keras

from components import features
from components.backbone import cut
from trainer.settings import Training


@dataclass(frozen=True)
class Classifier:
    """`network` is `head(upper(trunk(image)))`; the parts share its weights."""

    trunk: keras.Model | None  # images -> features at the cut; frozen, inference mode
    upper: keras.Model | None  # features at the cut -> [B, 2048]; trained
    head: keras.Model  # [B, 2048] -> logits [B, classes]; trained
    network: keras.Model  # [B, S, S, 3] float32 in [-1, 1] -> logits [B, classes] float32


def build_classifier(
    backbone: keras.Model, trainable_from: str, *, classes: int, fresh: bool, training: Training
) -> Classifier:
    """Cuts `backbone` at `trainable_from` and puts a new head on it.

    Args:
      backbone: InceptionV3, ``[B, S, S, 3]`` float32 in [-1, 1] to ``[B, 2048]``.
      fresh: whether the trained blocks forget the checkpoint and start from a new initialisation.
    """
    trunk, upper = cut.split(backbone, trainable_from)
    if fresh and upper is not None:
        cut.reinitialize(upper, training.seed)
    vector = keras.Input(backbone.output_shape[1:], name="feature_vector")
    dropped = keras.layers.Dropout(training.dropout, seed=training.seed, name="dropout")(vector)
    logits = keras.layers.Dense(
        classes, name="logits", kernel_initializer=keras.initializers.GlorotUniform(training.seed)
    )(dropped)
    head = keras.Model(vector, logits, name="head")

    image = keras.Input(backbone.input_shape[1:], name=features.IMAGE)
    flow = image
    for part in (trunk, upper, head):
        flow = part(flow) if part is not None else flow
    return Classifier(trunk, upper, head, keras.Model(image, flow, name="classifier"))


def compile_classifier(network: keras.Model, training: Training, total_steps: int) -> None:
    """Adam, cross-entropy on logits, accuracy."""
    network.compile(
        optimizer=keras.optimizers.Adam(learning_rate(training, total_steps)),
        loss=_SmoothedCrossEntropy(training.label_smoothing),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )


def learning_rate(
    training: Training, total_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The rate for each step: constant, or a linear rise and then half a cosine down to zero."""
    if training.schedule == "constant":
        return training.learning_rate
    warmup = round(training.warmup_fraction * total_steps)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else training.learning_rate,
        decay_steps=max(1, total_steps - warmup),
        warmup_target=training.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


class _SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of sparse labels against logits, with label smoothing."""

    def __init__(self, smoothing: float) -> None:
        super().__init__(name="cross_entropy")
        self.smoothing = smoothing

    def call(self, labels, logits):
        import tensorflow as tf

        one_hot = tf.one_hot(tf.reshape(tf.cast(labels, tf.int32), [-1]), logits.shape[-1])
        return keras.losses.categorical_crossentropy(
            one_hot, logits, from_logits=True, label_smoothing=self.smoothing
        )
