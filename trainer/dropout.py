"""Dropout with a random state of its own, so that a checkpoint can hold it."""

import tensorflow as tf
import tf_keras as keras


class Dropout(keras.layers.Layer):
    """Zeroes a share `rate` of the values in training and scales up the others.

    Keras' own layer takes its random numbers from a state that a checkpoint does not hold, so a
    resumed run would draw others than the run that was not interrupted.
    """

    def __init__(self, rate: float, seed: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.generator = tf.random.Generator.from_seed(seed, alg="philox")

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training or not self.rate:
            return inputs
        kept = self.generator.uniform(tf.shape(inputs)) >= self.rate
        return tf.where(kept, inputs / (1 - self.rate), tf.zeros_like(inputs))
