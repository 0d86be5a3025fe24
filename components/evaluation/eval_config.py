"""The gate: its settings become the EvalConfig by which Evaluator blesses a model."""

import json
from typing import Any

from tensorflow_model_analysis.proto import config_pb2

from inception_finetune.components import features
from inception_finetune.components.evaluation.settings import Gate

SIGNATURE = "serving_default"  # what is measured is the very signature that ships


def eval_config(gate: Gate) -> config_pb2.EvalConfig:
    """Overall and per-class metrics of stored predictions, bounded overall (or for every class).

    The bound against a baseline applies only where Evaluator is given one: TFX drops change
    thresholds otherwise.
    """
    overall = config_pb2.SlicingSpec()
    by_class = config_pb2.SlicingSpec(feature_keys=[features.LABEL])
    thresholds = [
        config_pb2.PerSliceMetricThreshold(
            slicing_specs=[overall, by_class] if gate.every_class else [overall],
            threshold=config_pb2.MetricThreshold(
                value_threshold=config_pb2.GenericValueThreshold(
                    lower_bound={"value": gate.min_accuracy}
                )
            ),
        ),
        config_pb2.PerSliceMetricThreshold(
            slicing_specs=[overall],
            threshold=config_pb2.MetricThreshold(
                change_threshold=config_pb2.GenericChangeThreshold(
                    direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
                    absolute={"value": -gate.max_accuracy_loss},
                )
            ),
        ),
    ]
    metrics = [
        _metric("ExampleCount"),
        _metric("SparseCategoricalAccuracy", thresholds, name=features.ACCURACY),
        _metric("SparseTopKCategoricalAccuracy", name=features.TOP_2_ACCURACY, k=2),
        _metric("SparseCategoricalCrossentropy", name=features.CROSS_ENTROPY),
        _metric("MultiClassConfusionMatrixPlot"),
    ]
    return config_pb2.EvalConfig(
        model_specs=[
            _model("candidate", features.CANDIDATE),
            _model("baseline", features.BASELINE, is_baseline=True),
        ],
        slicing_specs=[overall, by_class],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
        # The compiled Keras metrics would be computed once more: three times slower.
        options=config_pb2.Options(include_default_metrics={"value": False}),
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


def _metric(
    class_name: str,
    thresholds: list[config_pb2.PerSliceMetricThreshold] | None = None,
    **arguments: Any,
) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(
        class_name=class_name,
        config=json.dumps(arguments) if arguments else "",
        per_slice_thresholds=thresholds or [],
    )
