"""The network in plain `tf.nn` operations, as a TF-Hub reusable SavedModel.

Shares nothing with Keras, so that comparing the two is an independent check. Imports TensorFlow:
import it where it is needed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
import tensorflow as tf

from components.backbone.network import (
    BATCH_NORM_EPSILON,
    NETWORK,
    Block,
    Convolution,
    Pooling,
    walk_block,
)

TRAINING_MOMENTUM: Final = 0.99  # of the moving statistics, when called with training=True
Convolve = Callable[[str, Convolution, tf.Tensor], tf.Tensor]


def convolve(value: tf.Tensor, kernel: tf.Tensor, convolution: Convolution) -> tf.Tensor:
    """The bare convolution: no bias, no normalisation."""
    return tf.nn.conv2d(value, kernel, convolution.stride, convolution.padding)


def normalise(value: tf.Tensor, beta: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor:
    """Batch normalisation without scale, then ReLU."""
    return tf.nn.relu(
        tf.nn.batch_normalization(value, mean, variance, beta, None, BATCH_NORM_EPSILON)
    )


def _pool(pooling: Pooling, value: tf.Tensor) -> tf.Tensor:
    operation = tf.nn.max_pool2d if pooling.kind == "MAX" else tf.nn.avg_pool2d
    return operation(value, 3, pooling.stride, pooling.padding)


def run_blocks(
    images: tf.Tensor,
    blocks: Iterable[Block],
    convolve: Convolve,
    *,
    after_block: Callable[[str, tf.Tensor], None] = lambda name, value: None,
) -> tf.Tensor:
    """Runs some first blocks; `convolve` applies one convolution with normalisation and ReLU.

    Args:
        images: `[B, H, W, 3] float32 in [-1, 1]`, H and W >= 75.
        blocks: of `NETWORK`, from the stem on.
        convolve: is given the scope, its row of the table and the input.
        after_block: is given each block's name and output.

    Returns:
        The last block's output `[B, h, w, channels]`.
    """
    value = images
    for block in blocks:
        value = walk_block(
            block,
            value,
            convolve=convolve,
            pool=_pool,
            concatenate=lambda values: tf.concat(values, axis=3),
        )
        after_block(block.name, value)
    return value


def global_average(value: tf.Tensor) -> tf.Tensor:
    """The network's output `[B, 2048]` from the last block's."""
    return tf.reduce_mean(value, axis=[1, 2])


class InceptionModule(tf.train.Checkpoint):
    """TF-Hub's reusable SavedModel interface over TF-Slim's variable names.

    Called with `[B, H, W, 3] float32 in [0, 1]` (H and W >= 75) it answers `[B, 2048] float32`.
    With `training=True` batch normalisation uses the batch and updates its moving statistics.
    """

    def __init__(self, values: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.variables = [
            tf.Variable(value, name=name, dtype=tf.float32, trainable="/moving_" not in name)
            for name, value in values.items()
        ]
        self.trainable_variables = [variable for variable in self.variables if variable.trainable]
        self.regularization_losses: list[Callable[[], tf.Tensor]] = []

    @tf.function
    def __call__(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        named = {variable.name.removesuffix(":0"): variable for variable in self.variables}

        def convolve_and_normalise(
            scope: str, convolution: Convolution, value: tf.Tensor
        ) -> tf.Tensor:
            kernel, beta, moving_mean, moving_variance = (
                named[f"{scope}/{suffix}"]
                for suffix in (
                    "weights",
                    "BatchNorm/beta",
                    "BatchNorm/moving_mean",
                    "BatchNorm/moving_variance",
                )
            )
            value = convolve(value, kernel, convolution)
            if not training:
                return normalise(value, beta, moving_mean, moving_variance)
            mean, variance = tf.nn.moments(value, axes=[0, 1, 2])
            moving_mean.assign_sub((moving_mean - mean) * (1 - TRAINING_MOMENTUM))
            moving_variance.assign_sub((moving_variance - variance) * (1 - TRAINING_MOMENTUM))
            return normalise(value, beta, mean, variance)

        return global_average(run_blocks(inputs * 2.0 - 1.0, NETWORK, convolve_and_normalise))


def save(values: Mapping[str, np.ndarray], directory: str) -> None:
    """Writes the module with these variables, traced with and without training.

    Args:
        values: all 376 variables by TF-Slim name, float32.
        directory: receives the SavedModel.
    """
    module = InceptionModule(values)
    images = tf.TensorSpec([None, None, None, 3], tf.float32, name="inputs")
    module.__call__.get_concrete_function(images, training=False)
    module.__call__.get_concrete_function(images, training=True)

    @tf.function(input_signature=[images])
    def default(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"default": module(inputs, training=False)}

    tf.saved_model.save(module, directory, signatures={"serving_default": default})
