"""The trunk as one frozen graph: batch norm folded into constant kernels, run in one dtype."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from components.backbone.forward import global_average, run_blocks
from components.backbone.keras_network import scoped_layers
from components.backbone.network import BATCH_NORM_EPSILON, BLOCKS, HEAD, NETWORK, Convolution

if TYPE_CHECKING:
    import tf_keras as keras

Trunk = Callable[[tf.Tensor], tf.Tensor]


def fold_trunk(network: "keras.Model", trainable_from: str, dtype: tf.DType) -> Trunk:
    """The blocks below the cut in inference mode.

    In inference mode batch normalisation is ``relu(kernel * x / sigma + beta - mean / sigma)``
    with ``sigma = sqrt(variance + epsilon)``: a convolution with another kernel and a bias.

    Returns:
      A function from ``[B, S, S, 3]`` float32 in [-1, 1] to the cut's output as `dtype`:
      ``[B, h, w, channels]``, or ``[B, 2048]`` for ``head``.
    """
    folded: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
    for scope, convolution, batch_normalization in scoped_layers([network]):
        [kernel] = convolution.get_weights()
        beta, mean, variance = batch_normalization.get_weights()
        scale = 1 / (variance + BATCH_NORM_EPSILON) ** 0.5
        folded[scope] = (
            tf.constant(kernel * scale, dtype),
            tf.constant(beta - mean * scale, dtype),
        )

    def convolve(scope: str, convolution: Convolution, value: tf.Tensor) -> tf.Tensor:
        kernel, bias = folded[scope]
        value = tf.nn.conv2d(value, kernel, convolution.stride, convolution.padding)
        return tf.nn.relu(tf.nn.bias_add(value, bias))

    blocks = NETWORK if trainable_from == HEAD else NETWORK[: 1 + BLOCKS.index(trainable_from)]

    def trunk(images: tf.Tensor) -> tf.Tensor:
        value = run_blocks(tf.cast(images, dtype), blocks, convolve)
        return global_average(value) if trainable_from == HEAD else value

    return trunk
