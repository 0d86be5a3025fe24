"""The devices that train together: the GPUs of one machine, or else its CPU."""

from collections.abc import Callable

import tensorflow as tf

from inception_finetune.components.errors import UserError

_LEAST = 2  # images of a batch on each device: batch norm needs two


def choose_strategy() -> tf.distribute.Strategy:
    """Returns a strategy for all GPUs of this machine if there are several, else for one device."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def check_batch_size(batch_size: int, replicas: int) -> None:
    """Checks that every replica takes the same number of images of a batch.

    Only then the mean of their losses is that of the batch.

    Args:
      batch_size: images in a batch.
      replicas: number of devices.

    Raises:
      UserError: `batch_size` cannot be divided so, or leaves a replica with too few images.
    """
    if batch_size % replicas == 0 and batch_size >= _LEAST * replicas:
        return
    below, least = batch_size // replicas * replicas, _LEAST * replicas
    fitting = sorted({max(below, least), max(below + replicas, least)})
    raise UserError(
        f"training.batch_size is {batch_size}, and {replicas} devices train together: each "
        f"must take the same number of images of a batch, at least {_LEAST}. Set "
        f"training.batch_size={' or '.join(map(str, fitting))}."
    )


def distribute(
    strategy: tf.distribute.Strategy, batches: Callable[[int], tf.data.Dataset]
) -> tf.data.Dataset:
    """Distributes batches over the replicas, for `TrainingStep.train`.

    Args:
      strategy: of the training.
      batches: called with the number of replicas; returns the parts of each batch in turn.
    """
    return strategy.distribute_datasets_from_function(
        lambda context: batches(context.num_replicas_in_sync)
    )
