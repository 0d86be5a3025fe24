"""Seconds of a step as ``fixed + images * each / workers``, and what follows for other sizes."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import nnls

from benchmarks.scaling.measure import TEST_SHARE, Run
from inception_finetune.components.steps import Step

# Steps that run the network: their cost is that at the network's own size, and a GPU shortens it.
NETWORK: Final = (Step.TRUNK_FEATURES, Step.TRAINER, Step.TEST_PREDICTIONS)
# Steps that workers share. All others have a fixed cost, or run on one machine.
SHARED: Final = (
    Step.EXAMPLE_GEN,
    Step.STATISTICS_GEN,
    Step.TRANSFORM,
    Step.TRUNK_FEATURES,
    Step.TEST_PREDICTIONS,
    Step.EVALUATOR,
)
WHOLE: Final = "whole command"


@dataclass(frozen=True)
class Cost:
    """Of one step on one engine with one number of workers."""

    fixed: float  # seconds
    each: float  # seconds an image
    error: float  # largest relative difference between fit and median


@dataclass(frozen=True)
class Assumptions:
    """What was not measured here."""

    gpu_speedup: float = 30.0  # of network steps, against the machine that was measured
    worker_price: float = 0.10  # an hour, in any currency: put yours in
    gpu_worker_price: float = 0.60
    epochs: int = 5  # of the Trainer, which was measured with one


def fit(runs: Sequence[Run]) -> dict[str, Cost]:
    """Step -> cost, by least squares of relative errors over the medians of each size."""
    by_step: dict[str, dict[int, list[float]]] = {}
    for run in runs:
        for step, seconds in run.seconds.items():
            by_step.setdefault(step, {}).setdefault(run.images, []).append(seconds)
    costs = {}
    for step, by_size in by_step.items():
        sizes = np.array(sorted(by_size), float)
        medians = np.array([statistics.median(by_size[int(size)]) for size in sizes])
        weights = 1 / np.maximum(medians, 0.1)
        table = np.stack([np.ones_like(sizes), sizes], axis=1)
        (fixed, each), _ = nnls(table * weights[:, None], medians * weights)
        error = np.abs(fixed + each * sizes - medians) * weights
        costs[step] = Cost(float(fixed), float(each), float(error.max()))
    return costs


def predict(
    costs: Mapping[str, Cost], images: int, workers: int, assumed: Assumptions, *, gpu: bool
) -> dict[str, float]:
    """Step -> seconds; `costs` of network steps are those at the network's own size."""
    seconds = {}
    for step, cost in costs.items():
        if step == WHOLE:
            continue
        each = cost.each
        if step in NETWORK and gpu:
            each /= assumed.gpu_speedup
        if step == Step.TRAINER:
            each *= assumed.epochs
        seconds[step] = cost.fixed + images * each / (workers if step in SHARED else 1)
    return seconds


def feature_bytes(runs: Sequence[Run], images: int) -> float:
    """Of the stored features, from runs of one size of input; of random pictures and weights."""
    stored = statistics.median(
        run.feature_bytes / (run.images - run.images // TEST_SHARE) for run in runs
    )
    return stored * (images - images // TEST_SHARE)
