"""The devices that train together."""

import json
import os
from collections.abc import Callable

import tensorflow as tf

from components.errors import UserError


def choose_strategy(devices: str) -> tf.distribute.Strategy:
    """To be called before anything is computed: several workers must meet first.

    Args:
      devices: ``auto`` or ``multi_worker``, as in `Training`.

    Raises:
      UserError: several workers are asked for and TF_CONFIG does not name them.
    """
    if devices == "multi_worker":
        _check_cluster(os.environ.get("TF_CONFIG", ""))
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()  # the CPU or the one GPU


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes what all have learned."""
    resolver = strategy.cluster_resolver
    return resolver is None or (resolver.task_type, resolver.task_id) in (
        (None, None),
        ("chief", 0),
        ("worker", 0),
    )


def distribute(
    strategy: tf.distribute.Strategy, batches: Callable[[int, range], tf.data.Dataset]
) -> tf.data.Dataset:
    """Batches for `TrainingStep.train`.

    Args:
      batches: ``(replicas, mine)`` to the parts of batches that this process' replicas take.
    """

    def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync
        here = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * here
        return batches(replicas, range(first, first + here))

    return strategy.distribute_datasets_from_function(dataset)


def _check_cluster(text: str) -> None:
    try:
        named = json.loads(text)["cluster"]["worker"]
    except (ValueError, KeyError, TypeError):
        named = []
    if not named:
        raise UserError(
            "training.devices=multi_worker needs TF_CONFIG with the addresses of its workers, "
            'such as {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": '
            f'"worker", "index": 0}}}}. Received: TF_CONFIG={text!r}'
        )
