"""The trunk as one frozen graph: batch norm folded into constant kernels, run in one dtype."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from inception_finetune.components.backbone.blocks import Convolution
from inception_finetune.components.backbone.forward import (
    Convolve,
    add_bias,
    convolve,
    global_average,
    run_blocks,
)
from inception_finetune.components.backbone.keras_network import scoped_layers
from inception_finetune.components.backbone.network import BATCH_NORM_EPSILON, HEAD, Backbone

if TYPE_CHECKING:
    import tf_keras as keras

Trunk = Callable[[tf.Tensor], tf.Tensor]


def fold_trunk(
    backbone: Backbone, network: "keras.Model", trainable_from: str, dtype: tf.DType
) -> Trunk:
    """Folds the blocks below the cut in inference mode.

    Args:
      backbone: the network's table.
      network: the loaded Keras network.
      trainable_from: the block that the trunk ends before, or ``head``.
      dtype: of the computation and the result.

    Returns:
      A function from ``[B, S, S, 3]`` float32 in [-1, 1] to the cut's output as `dtype`:
      ``[B, h, w, channels]``, or ``[B, features]`` for ``head``.
    """
    convolution = folded_convolution(backbone, network, dtype)
    blocks = backbone.blocks_before(trainable_from)

    def trunk(images: tf.Tensor) -> tf.Tensor:
        value = run_blocks(backbone, blocks, tf.cast(images, dtype), convolution)
        return global_average(value) if trainable_from == HEAD else value

    return trunk


def folded_convolution(backbone: Backbone, network: "keras.Model", dtype: tf.DType) -> Convolve:
    """Folds batch normalisation into each convolution, for `run_blocks`.

    In inference mode a convolution with batch normalisation is
    ``relu(kernel * x / sigma + beta - mean / sigma)`` with ``sigma = sqrt(variance + epsilon)``: a
    convolution with another kernel and a bias.

    Args:
      backbone: the network's table.
      network: the loaded Keras network.
      dtype: of the folded constants.
    """
    folded: dict[str, tuple[list[tf.Tensor], tf.Tensor]] = {}
    for scope, convolution, layers in scoped_layers(backbone, [network]):
        kernels, bias = layers[0].get_weights(), None
        if convolution.has_bias:
            *kernels, bias = kernels
        else:
            beta, mean, variance = layers[1].get_weights()
            scale = 1 / (variance + BATCH_NORM_EPSILON) ** 0.5
            kernels[-1] = kernels[-1] * scale
            bias = beta - mean * scale
        folded[scope] = (
            [tf.constant(kernel, dtype) for kernel in kernels],
            tf.constant(bias, dtype),
        )

    def convolve_folded(scope: str, convolution: Convolution, value: tf.Tensor) -> tf.Tensor:
        kernels, bias = folded[scope]
        return add_bias(convolve(value, kernels, convolution), bias, convolution)

    return convolve_folded
