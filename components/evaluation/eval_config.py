"""The gate: its settings become the EvalConfig by which Evaluator blesses a model."""

import json
from collections.abc import Iterator
from typing import Final

from tensorflow_model_analysis.proto import config_pb2

from inception_finetune.components import features
from inception_finetune.components.evaluation.metrics import (
    ACCURACY_LOSS,
    METRICS,
    OWN_TFMA_METRICS,
    SET_COVERAGE,
    Metric,
)
from inception_finetune.components.evaluation.settings import Bound, Gate

SIGNATURE: Final = "serving_default"  # what is measured is the very signature that ships
_OVERALL: Final = config_pb2.SlicingSpec()
_BY_CLASS: Final = config_pb2.SlicingSpec(feature_keys=[features.LABEL])


def eval_config(
    gate: Gate, code_fingerprint: str = "", *, has_sets: bool = False
) -> config_pb2.EvalConfig:
    """Overall and per-class metrics of stored predictions, with the bounds of `gate`.

    Bounds against a baseline apply only where Evaluator is given one: TFX drops change
    thresholds otherwise.

    Args:
      gate: what a model must reach.
      code_fingerprint: sha256 of the metrics' code, by which Evaluator's result is cached.
      has_sets: whether the candidate gives prediction sets.
    """
    bounds = gate.bounds_by_metric
    metrics = [
        config_pb2.MetricConfig(
            class_name=metric.tfma_class,
            module=metric.tfma_module,
            config=json.dumps({**metric.tfma_arguments, "name": metric.name}),
            per_slice_thresholds=_thresholds(metric, bounds.get(metric.name, Bound())),
        )
        for metric in METRICS.values()
        if has_sets or metric.name != SET_COVERAGE
    ]
    return config_pb2.EvalConfig(
        model_specs=[
            _model("candidate", features.CANDIDATE),
            _model("baseline", features.BASELINE, is_baseline=True),
        ],
        slicing_specs=[_OVERALL, _BY_CLASS],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(class_name="ExampleCount"),
                    *metrics,
                    _paired_test(gate, code_fingerprint),
                    config_pb2.MetricConfig(class_name="MultiClassConfusionMatrixPlot"),
                ]
            )
        ],
        # The compiled Keras metrics would be computed once more: three times slower.
        options=config_pb2.Options(include_default_metrics={"value": False}),
    )


def _thresholds(metric: Metric, bound: Bound) -> Iterator[config_pb2.PerSliceMetricThreshold]:
    directions = config_pb2.MetricDirection
    value = bound.value(metric)
    if value is not None:
        side = "lower_bound" if metric.higher_is_better else "upper_bound"
        yield config_pb2.PerSliceMetricThreshold(
            slicing_specs=[_OVERALL, _BY_CLASS] if bound.every_class else [_OVERALL],
            threshold=config_pb2.MetricThreshold(
                value_threshold=config_pb2.GenericValueThreshold(**{side: {"value": value}})
            ),
        )
    if bound.tolerance is not None:
        yield config_pb2.PerSliceMetricThreshold(
            slicing_specs=[_OVERALL],
            threshold=config_pb2.MetricThreshold(
                change_threshold=config_pb2.GenericChangeThreshold(
                    direction=(
                        directions.HIGHER_IS_BETTER
                        if metric.higher_is_better
                        else directions.LOWER_IS_BETTER
                    ),
                    absolute={
                        "value": -bound.tolerance if metric.higher_is_better else bound.tolerance
                    },
                )
            ),
        )


def _paired_test(gate: Gate, code_fingerprint: str) -> config_pb2.MetricConfig:
    """That the candidate is not worse than the baseline, on the same images.

    The p-value is a number of both models. TFMA has change thresholds for those; what it compares
    with this one is the p-value itself.
    """
    return config_pb2.MetricConfig(
        class_name="AccuracyLoss",
        module=OWN_TFMA_METRICS,
        config=json.dumps(
            {
                "name": ACCURACY_LOSS,
                "tolerated": gate.max_accuracy_loss,
                "code_fingerprint": code_fingerprint,
            }
        ),
        per_slice_thresholds=[
            config_pb2.PerSliceMetricThreshold(
                slicing_specs=[_OVERALL],
                threshold=config_pb2.MetricThreshold(
                    change_threshold=config_pb2.GenericChangeThreshold(
                        direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
                        absolute={"value": gate.error_rate},
                    )
                ),
            )
        ],
    )


def _model(name: str, prediction_key: str, is_baseline: bool = False) -> config_pb2.ModelSpec:
    """Its predictions are read from the examples, where TestPredictions put them."""
    return config_pb2.ModelSpec(
        name=name,
        label_key=features.LABEL,
        prediction_key=prediction_key,
        is_baseline=is_baseline,
        model_type="materialized_prediction",
    )
