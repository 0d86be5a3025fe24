"""The devices that train together: the GPUs of one machine, or else its CPU."""

from collections.abc import Callable

import tensorflow as tf

from inception_finetune.components.errors import UserError

_LEAST = 2  # images of a batch on each device: batch norm needs two


def choose_strategy() -> tf.distribute.Strategy:
    """All GPUs of this machine where there are several, else the CPU or the one GPU."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def check_batch_size(batch_size: int, replicas: int) -> None:
    """Every replica must take as many images: the mean of their losses is then that of the batch.

    Raises:
      UserError: `batch_size` cannot be divided so, or leaves a replica with too few images.
    """
    if batch_size % replicas == 0 and batch_size >= _LEAST * replicas:
        return
    below, least = batch_size // replicas * replicas, _LEAST * replicas
    fitting = sorted({max(below, least), max(below + replicas, least)})
    raise UserError(
        f"training.batch_size is {batch_size}, and {replicas} devices train together: each must "
        f"take the same number of images of a batch, at least {_LEAST}. "
        f"Give training.batch_size={' or '.join(map(str, fitting))}"
    )


def distribute(
    strategy: tf.distribute.Strategy, batches: Callable[[int], tf.data.Dataset]
) -> tf.data.Dataset:
    """Batches for `TrainingStep.train`; ``batches(replicas)`` gives the parts of each in turn."""
    return strategy.distribute_datasets_from_function(
        lambda context: batches(context.num_replicas_in_sync)
    )
