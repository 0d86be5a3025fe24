"""The gate's verdict, as Evaluator wrote it: metrics, and each threshold with value and margin."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2
from tensorflow_model_analysis.writers import eval_config_writer

from components.settings import Section

OVERALL = "overall"


class Threshold(Section):
    """One bound of the gate on one slice of the test images."""

    slice: str  # "overall" or "<feature>=<value>"
    metric: str
    change: bool  # whether it bounds the change against the last blessed model
    bound: float
    value: float

    @property
    def margin(self) -> float:
        """Below 0 where the bound is broken."""
        return self.value - self.bound

    @property
    def passed(self) -> bool:
        return self.margin >= 0

    @property
    def sentence(self) -> str:
        """What is asked, what was measured, and what is missing."""
        if self.change:
            return (
                f"{self.slice} {self.metric} must not fall more than {-self.bound:g} below the "
                f"last blessed model; it changed by {self.value:+.4f}, {-self.margin:.4f} too much"
            )
        return (
            f"{self.slice} {self.metric} must be at least {self.bound:g}; it is {self.value:.4f}, "
            f"{-self.margin:.4f} short"
        )


class Verdict(Section):
    blessed: bool
    thresholds: tuple[Threshold, ...]
    metrics: dict[str, float]  # of the candidate, over all test images

    @property
    def refusals(self) -> tuple[str, ...]:
        """A sentence for each bound that is broken."""
        return tuple(bound.sentence for bound in self.thresholds if not bound.passed)


class _Key(NamedTuple):
    metric: str
    baseline: bool
    change: bool


def read_verdict(uri: str) -> Verdict:
    """The verdict in the evaluation artifact at `uri`; Evaluator itself lists only failures."""
    config, *_ = eval_config_writer.load_eval_run(uri)
    slices = {_slice_name(row.slice_key): _values(row) for row in tfma.load_metrics(uri)}
    overall = slices[OVERALL]
    return Verdict(
        blessed=tfma.load_validation_result(uri).validation_ok,
        thresholds=tuple(_thresholds(config, slices)),
        metrics={
            key.metric: value
            for key, value in overall.items()
            if not key.baseline and not key.change
        },
    )


def _slice_name(key: metrics_for_slice_pb2.SliceKey) -> str:
    parts = [
        f"{single.column}={getattr(single, single.WhichOneof('kind'))}"
        for single in key.single_slice_keys
    ]
    return ", ".join(parts) or OVERALL


def _values(row: metrics_for_slice_pb2.MetricsForSlice) -> dict[_Key, float]:
    return {
        _Key(
            item.key.name, item.key.model_name == tfma.BASELINE_KEY, item.key.is_diff
        ): item.value.double_value.value
        for item in row.metric_keys_and_values
    }


def _thresholds(
    config: config_pb2.EvalConfig, slices: dict[str, dict[_Key, float]]
) -> Iterator[Threshold]:
    metrics = [metric for spec in config.metrics_specs for metric in spec.metrics]
    for metric in metrics:
        name = _metric_name(metric)
        for bounded in metric.per_slice_thresholds:
            threshold = bounded.threshold
            change = threshold.HasField("change_threshold")
            if not change and not threshold.HasField("value_threshold"):
                continue  # TFX empties the bound against a baseline where there is none
            bound = (
                threshold.change_threshold.absolute.value
                if change
                else threshold.value_threshold.lower_bound.value
            )
            for where, values in slices.items():
                if _is_bounded(where, bounded.slicing_specs):
                    value = values[_Key(name, baseline=False, change=change)]
                    yield Threshold(
                        slice=where, metric=name, change=change, bound=bound, value=value
                    )


def _metric_name(metric: config_pb2.MetricConfig) -> str:
    return str(json.loads(metric.config or "{}").get("name", metric.class_name))


def _is_bounded(where: str, specs) -> bool:
    for spec in specs:
        keys = list(spec.feature_keys)
        if not keys and where == OVERALL:
            return True
        if keys and where != OVERALL and [p.split("=")[0] for p in where.split(", ")] == keys:
            return True
    return False
