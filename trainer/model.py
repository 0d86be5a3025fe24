"""The network that is trained: frozen trunk, upper blocks and head."""

from dataclasses import dataclass
from typing import Literal

import tensorflow as tf
import tf_keras as keras

from inception_finetune.components import features
from inception_finetune.components.backbone import cut
from inception_finetune.components.backbone.keras_network import FEATURE_VECTOR
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.trainer.settings import Training


@dataclass(frozen=True)
class Classifier:
    """The whole network: `network` is `head(upper(trunk(image)))`, its parts share its weights."""

    trunk: keras.Model | None  # images -> features at the cut; frozen, inference mode
    upper: keras.Model | None  # features at the cut -> [B, features]; trained
    head: keras.Model  # [B, features] -> logits [B, classes]; trained
    network: keras.Model  # [B, S, S, 3] float32 in [-1, 1] -> logits [B, classes] float32

    @property
    def embedding(self) -> keras.Model:
        """A model of images to the head's input, [B, features], and the logits, [B, classes]."""
        vector = self.network.input
        for part in (self.trunk, self.upper):
            vector = part(vector) if part is not None else vector
        return keras.Model(self.network.input, [vector, self.head(vector)], name="embedding")

    def split_after(self, block: str) -> tuple[keras.Model, keras.Model]:
        """Returns the network in two parts: images to a block's output, and that to the logits.

        Args:
          block: one of the network's, on whichever side of the cut.
        """
        parts = [part for part in (self.trunk, self.upper) if part is not None]
        # A layer's output is that in the uncut network, whose layers the parts share.
        outputs = {layer.name: layer.output for part in parts for layer in part.layers}
        rest = keras.Model(outputs[block], outputs[FEATURE_VECTOR])
        features_at = keras.Input(outputs[block].shape[1:])
        return (
            keras.Model(parts[0].input, outputs[block], name="below"),
            keras.Model(features_at, self.head(rest(features_at)), name="above"),
        )


def build_classifier(
    backbone: Backbone,
    backbone_network: keras.Model,
    trainable_from: str,
    *,
    cut_before: str | None = None,
    classes: int,
    fresh: bool,
    training: Training,
) -> Classifier:
    """Cuts a network at `cut_before` and adds a new head.

    Args:
      backbone: the network's table.
      backbone_network: ``[B, S, S, 3]`` float32 in [-1, 1] to ``[B, features]``.
      trainable_from: the first block that is trained.
      cut_before: where trunk and upper part meet, if that is below the first trained block.
      classes: number of classes.
      fresh: whether the trained blocks are initialised anew instead of from the checkpoint.
      training: settings of the training.
    """
    trunk, upper = cut.split(backbone, backbone_network, trainable_from, cut_before=cut_before)
    if fresh and upper is not None:
        cut.reinitialize(backbone, upper, training.seed)
    vector = keras.Input(backbone_network.output_shape[1:], name="feature_vector")
    dropped = Dropout(training.dropout, training.seed, name="dropout")(vector)
    logits = keras.layers.Dense(
        classes, name="logits", kernel_initializer=keras.initializers.GlorotUniform(training.seed)
    )(dropped)
    head = keras.Model(vector, logits, name="head")

    image = keras.Input(backbone_network.input_shape[1:], name=features.IMAGE)
    flow = image
    for part in (trunk, upper, head):
        flow = part(flow) if part is not None else flow
    return Classifier(trunk, upper, head, keras.Model(image, flow, name="classifier"))


class Dropout(keras.layers.Layer):
    """Zeroes a share `rate` of the values in training and scales up the others.

    Keras' own layer draws its random numbers from a state that a checkpoint does not hold, so that
    a resumed run would draw others than an uninterrupted one.
    """

    def __init__(self, rate: float, seed: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.generator = tf.random.Generator.from_seed(seed, alg="philox")

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies dropout if `training` is true."""
        if not training or not self.rate:
            return inputs
        mask = self.generator.uniform(tf.shape(inputs)) >= self.rate
        return tf.where(mask, inputs / (1 - self.rate), tf.zeros_like(inputs))


@dataclass(frozen=True)
class Trainee:
    """What is trained: `network` shares the head, and perhaps all, with a `Classifier`."""

    network: keras.Model  # images or features at the cut -> logits float32
    upper: keras.Model | None  # in the type that is computed in; float32 variables
    head: keras.Model  # [B, features] -> logits float32
    embedding: keras.Model  # the same inputs -> what the head sees, [B, features], and the logits


def prepare_training(
    classifier: Classifier, compute_dtype: Literal["float32", "bfloat16"], *, from_features: bool
) -> Trainee:
    """Builds the network to be trained, with convolutions in `compute_dtype` and float32 variables.

    Logits and loss stay float32. If the type is not float32, the blocks are copies:
    `finish_training` copies their weights back.

    Args:
      classifier: the network to be exported.
      compute_dtype: of the convolutions.
      from_features: whether the inputs are stored features instead of images.
    """
    trunk, upper = (
        part if part is None or compute_dtype == "float32" else _in_dtype(part, compute_dtype)
        for part in (classifier.trunk, classifier.upper)
    )
    parts = [] if upper is None else [upper]
    if not from_features and trunk is not None:
        parts.insert(0, trunk)
    # Stored features come in the type that is computed in, images in float32.
    first = parts[0] if parts else classifier.head
    inputs = keras.Input(first.input_shape[1:], dtype=compute_dtype if from_features else None)
    vector = inputs
    for part in parts:
        vector = part(vector)
    logits = classifier.head(vector)
    return Trainee(
        network=keras.Model(inputs, logits, name="trainee"),
        upper=upper,
        head=classifier.head,
        embedding=keras.Model(inputs, [vector, logits], name="embedding"),
    )


def finish_training(trainee: Trainee, classifier: Classifier) -> None:
    """Copies trained weights into the classifier that is exported."""
    if classifier.upper is not None and trainee.upper is not None:
        classifier.upper.set_weights(trainee.upper.get_weights())


def _in_dtype(part: keras.Model, compute_dtype: str) -> keras.Model:
    """Returns a copy with the same weights that computes in another type."""

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), "dtype": policy})

    policy = keras.mixed_precision.Policy(f"mixed_{compute_dtype}")
    copy = keras.models.clone_model(part, clone_function=clone)
    copy.set_weights(part.get_weights())
    return copy
