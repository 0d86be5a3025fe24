"""Where a network looks: the class activation map of a block, by Grad-CAM.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization"
(2017). After the last block comes the mean over all positions and a dense layer; there the map is
that of Zhou et al., "Learning Deep Features for Discriminative Localization" (2016), but for a
factor.
"""

from collections.abc import Callable

import tensorflow as tf
import tf_keras as keras


class GradCam:
    """A network in two parts, between which its maps are taken; batch norm in inference mode.

    No `tf.Module`, so that saving a model that has it does not trace each layer of both parts.
    """

    def __init__(self, below: keras.Model, above: keras.Model) -> None:
        """Takes the parts.

        Args:
          below: images ``[B, S, S, 3]`` to a block's output ``[B, h, w, channels]``.
          above: that to logits ``[B, classes]``.
        """
        self.shape: tuple[int, int] = below.output_shape[1:3]  # of a map
        self._below = below
        self._above = above

    def __call__(self, images: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        """Asks the network.

        Args:
          images: ``[B, S, S, 3]`` float32 in [-1, 1].

        Returns:
          Logits ``[B, classes]`` float32, and a function that can be called once: of one class for
          each image, ``[B]`` int64, to their maps ``[B, h, w]`` float32 in [0, 1]. The largest
          value of a map is 1; where nothing in the picture speaks for the class, all are 0.
        """
        output = self._below(images, training=False)
        with tf.GradientTape() as tape:
            tape.watch(output)
            logits = self._above(output, training=False)

        def maps(labels: tf.Tensor) -> tf.Tensor:
            chosen = tf.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
            gradient = tape.gradient(logits, output, output_gradients=chosen)
            weights = tf.reduce_mean(gradient, axis=[1, 2], keepdims=True)
            found = tf.nn.relu(tf.reduce_sum(weights * output, axis=-1))
            return tf.math.divide_no_nan(found, tf.reduce_max(found, axis=[1, 2], keepdims=True))

        return logits, maps
