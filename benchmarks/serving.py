"""Images a second through the pushed model's own signature, as Evaluator calls it."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf


def images_per_second(model: Path, serialized: Sequence[bytes], rounds: int) -> float:
    """Median over `rounds`; the first call, which plans the graph, does not count."""
    signature = tf.saved_model.load(str(model)).signatures["serving_default"]
    examples = tf.constant(list(serialized))
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        signature(examples=examples)
        seconds.append(time.perf_counter() - started)
    return len(serialized) / statistics.median(seconds[1:])
