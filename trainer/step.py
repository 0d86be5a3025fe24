"""Training and validation steps that use all cores, whoever delivers the batch."""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
import tf_keras as keras


class StepModel(keras.Model):
    """A functional model that takes each batch from the iterator before it enters the graph.

    Keras takes it inside the graph. There the rest of the step may go on in the thread that
    delivered the batch, and on such a thread oneDNN computes on one core: on 2 cores one step in
    four took twice as long, and now one in thirty does.
    """

    def make_train_function(self, force: bool = False) -> Callable[[Iterator], Any]:
        if force or self.train_function is None:  # type: ignore[has-type]
            self.train_function = self._eager_next(self.train_step, self._train_counter)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Callable[[Iterator], Any]:
        if force or self.test_function is None:  # type: ignore[has-type]
            self.test_function = self._eager_next(self.test_step, self._test_counter)
        return self.test_function

    def _eager_next(
        self, step: Callable[[Any], Any], counter: tf.Variable
    ) -> Callable[[Iterator], Any]:
        @tf.function(reduce_retracing=True)
        def on_batch(batch: Any) -> Any:
            outputs = self.distribute_strategy.run(step, args=(batch,))
            with tf.control_dependencies(tf.nest.flatten(outputs)):
                counter.assign_add(1)
            # Metrics are kept in variables that all replicas share.
            return tf.nest.map_structure(
                lambda value: self.distribute_strategy.experimental_local_results(value)[0],
                outputs,
            )

        return lambda iterator: on_batch(next(iterator))
