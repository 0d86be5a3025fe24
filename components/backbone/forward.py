"""A network in plain `tf.nn` operations, as a TF-Hub reusable SavedModel.

It shares no layer with Keras, so that comparing the two is a check. Imports TensorFlow: import it
where it is needed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import tensorflow as tf

from inception_finetune.components.backbone.blocks import Block, Convolution, Pooling, Residual
from inception_finetune.components.backbone.network import (
    BATCH_NORM_EPSILON,
    CHANNELS,
    Backbone,
    walk,
)

TRAINING_MOMENTUM: Final = 0.99  # of the moving statistics, when called with training=True
Convolve = Callable[[str, Convolution, tf.Tensor], tf.Tensor]


def convolve(value: tf.Tensor, kernels: Sequence[tf.Tensor], convolution: Convolution) -> tf.Tensor:
    """Applies the convolution alone, without bias or normalisation.

    Args:
        value: ``[B, h, w, in]``.
        kernels: one kernel ``[h, w, in, filters]``; a separable convolution has two.
        convolution: its row of the table.
    """
    stride, padding = convolution.stride, convolution.padding
    if convolution.depth_multiplier:
        depthwise, pointwise = kernels
        value = tf.nn.depthwise_conv2d(value, depthwise, [1, stride, stride, 1], padding)
        return tf.nn.conv2d(value, pointwise, 1, "VALID")
    return tf.nn.conv2d(value, kernels[0], stride, padding)


def normalise(
    value: tf.Tensor,
    beta: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    convolution: Convolution,
) -> tf.Tensor:
    """Applies batch normalisation without scale, then ReLU if the convolution has one.

    Args:
        value: ``[B, h, w, filters]``.
        beta: ``[filters]``.
        mean: ``[filters]``.
        variance: ``[filters]``.
        convolution: whose output `value` is.
    """
    value = tf.nn.batch_normalization(value, mean, variance, beta, None, BATCH_NORM_EPSILON)
    return tf.nn.relu(value) if convolution.relu else value


def add_bias(value: tf.Tensor, bias: tf.Tensor, convolution: Convolution) -> tf.Tensor:
    """Adds the bias, then applies ReLU if the convolution has one.

    Args:
        value: ``[B, h, w, filters]``.
        bias: ``[filters]``.
        convolution: its row of the table.
    """
    value = tf.nn.bias_add(value, bias)
    return tf.nn.relu(value) if convolution.relu else value


@dataclass(frozen=True)
class _Tensors:
    """Operations on tensors ``[B, h, w, channels]``."""

    convolve: Convolve
    after_block: Callable[[str, tf.Tensor], None]

    def pool(self, pooling: Pooling, value: tf.Tensor) -> tf.Tensor:
        operation = tf.nn.max_pool2d if pooling.kind == "MAX" else tf.nn.avg_pool2d
        return operation(value, pooling.size, pooling.stride, pooling.padding)

    def concatenate(self, values: list[tf.Tensor]) -> tf.Tensor:
        return tf.concat(values, axis=3)

    def add(self, value: tf.Tensor, update: tf.Tensor, residual: Residual) -> tf.Tensor:
        value += residual.scale * update
        return tf.nn.relu(value) if residual.relu else value

    def end_block(self, block: Block, value: tf.Tensor) -> tf.Tensor:
        self.after_block(block.name, value)
        return value


def run_blocks(
    backbone: Backbone,
    blocks: Iterable[Block],
    images: tf.Tensor,
    convolve: Convolve,
    *,
    after_block: Callable[[str, tf.Tensor], None] = lambda name, value: None,
) -> tf.Tensor:
    """Runs the given blocks of a network.

    Args:
        backbone: the network's table.
        blocks: the first blocks of it, in their order.
        images: ``[B, H, W, 3]`` float32 in [-1, 1].
        convolve: applies one convolution with bias or normalisation; called with the scope, its row
            of the table and the input.
        after_block: called with each block's name and output.

    Returns:
        The last block's output ``[B, h, w, channels]``.
    """
    return walk(backbone, tuple(blocks), images, _Tensors(convolve, after_block))


def global_average(value: tf.Tensor) -> tf.Tensor:
    """Averages the last block's ``[B, h, w, features]`` over all positions: ``[B, features]``."""
    return tf.reduce_mean(value, axis=[1, 2])


class BackboneModule(tf.train.Checkpoint):
    """TF-Hub's reusable SavedModel interface over TF-Slim's variable names."""

    def __init__(self, backbone: Backbone, values: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self._backbone = backbone
        self.variables = [
            tf.Variable(value, name=name, dtype=tf.float32, trainable="/moving_" not in name)
            for name, value in values.items()
        ]
        self.trainable_variables = [variable for variable in self.variables if variable.trainable]
        self.regularization_losses: list[Callable[[], tf.Tensor]] = []

    @tf.function
    def __call__(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes the features of images.

        Args:
            inputs: ``[B, H, W, 3]`` float32 in [0, 1].
            training: whether batch normalisation uses the batch and updates its moving statistics.

        Returns:
            ``[B, features]`` float32.
        """
        named = {variable.name.removesuffix(":0"): variable for variable in self.variables}

        def convolve_and_normalise(
            scope: str, convolution: Convolution, value: tf.Tensor
        ) -> tf.Tensor:
            variables = [named[f"{scope}/{suffix}"] for suffix in convolution.suffixes]
            if convolution.has_bias:
                *kernels, bias = variables
                return add_bias(convolve(value, kernels, convolution), bias, convolution)
            *kernels, beta, moving_mean, moving_variance = variables
            value = convolve(value, kernels, convolution)
            if not training:
                return normalise(value, beta, moving_mean, moving_variance, convolution)
            mean, variance = tf.nn.moments(value, axes=[0, 1, 2])
            moving_mean.assign_sub((moving_mean - mean) * (1 - TRAINING_MOMENTUM))
            moving_variance.assign_sub((moving_variance - variance) * (1 - TRAINING_MOMENTUM))
            return normalise(value, beta, mean, variance, convolution)

        backbone = self._backbone
        return global_average(
            run_blocks(backbone, backbone.blocks, inputs * 2.0 - 1.0, convolve_and_normalise)
        )


def save(
    backbone: Backbone, values: Mapping[str, np.ndarray], image_size: int, directory: str
) -> None:
    """Writes the module with these variables, traced with and without training.

    Args:
        backbone: the network's table.
        values: all its variables by TF-Slim name, float32.
        image_size: side in pixels, for a network that takes images of one size only.
        directory: receives the SavedModel.
    """
    module = BackboneModule(backbone, values)
    side = image_size if backbone.is_sized else None
    images = tf.TensorSpec([None, side, side, CHANNELS], tf.float32, name="inputs")
    module.__call__.get_concrete_function(images, training=False)
    module.__call__.get_concrete_function(images, training=True)

    @tf.function(input_signature=[images])
    def default(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"default": module(inputs, training=False)}

    tf.saved_model.save(module, directory, signatures={"serving_default": default})
