"""Metrics that TFMA does not have, as it wants them; Evaluator imports this module by its name."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis.metrics import metric_util
from tensorflow_model_analysis.metrics.metric_types import (
    DerivedMetricComputation,
    FeaturePreprocessor,
    Metric,
    MetricComputation,
    MetricComputations,
    MetricKey,
    StandardMetricInputs,
)
from tensorflow_model_analysis.metrics.multi_class_confusion_matrix_metrics import (
    multi_class_confusion_matrices,
)
from tensorflow_model_analysis.proto import config_pb2

from inception_finetune.components import features
from inception_finetune.components.evaluation.measures import (
    CALIBRATION_BINS,
    accuracy_at_coverage,
    calibration_of,
    count_confidences,
    loss_p_value,
)
from inception_finetune.components.evaluation.metrics import ACCURACY_LOSS, ANSWERED, METRICS


class OverClasses(Metric):
    """A metric of ours that follows from the confusion matrix, which TFMA counts for its plot."""

    def __init__(self, name: str) -> None:
        """The metric in `METRICS` of that name, which must have `of_confusions`."""
        super().__init__(metric_util.merge_per_key_computations(_over_classes), name=name)


def _over_classes(
    name: str,
    eval_config: config_pb2.EvalConfig,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> MetricComputations:
    where: dict[str, Any] = {
        "model_name": model_name,
        "output_name": output_name,
        "example_weighted": example_weighted,
    }
    key = MetricKey(name=name, **where)
    matrices = multi_class_confusion_matrices(eval_config=eval_config, **where)
    measure = METRICS[name].of_confusions
    assert measure is not None

    def result(metrics: dict[MetricKey, Any]) -> dict[MetricKey, float]:
        [matrix] = metrics[matrices[-1].keys[-1]].values()
        truth, answered = np.array([tuple(pair) for pair in matrix], np.int64).T
        return {key: measure(truth, answered, np.array(list(matrix.values())))}

    return [*matrices, DerivedMetricComputation(keys=[key], result=result)]


class OverAnswers(Metric):
    """A metric of ours that follows from each answer's confidence, and whether it is right."""

    def __init__(self, name: str) -> None:
        """The metric in `_COMBINERS` of that name."""
        super().__init__(metric_util.merge_per_key_computations(_over_answers), name=name)


def _over_answers(
    name: str,
    eval_config: config_pb2.EvalConfig,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> MetricComputations:
    key = MetricKey(
        name=name,
        model_name=model_name,
        output_name=output_name,
        example_weighted=example_weighted,
    )
    combiner = _COMBINERS[name](key, eval_config)
    return [MetricComputation(keys=[key], preprocessors=None, combiner=combiner)]


class _CountConfidences(beam.CombineFn):
    """Counts answers, their confidences and those that are right, by bins of confidence."""

    def __init__(self, key: MetricKey, config: config_pb2.EvalConfig) -> None:
        self._key = key
        self._config = config

    def create_accumulator(self) -> npt.NDArray[np.float64]:
        return np.zeros([3, CALIBRATION_BINS])

    def add_input(
        self, counts: npt.NDArray[np.float64], element: StandardMetricInputs
    ) -> npt.NDArray[np.float64]:
        label, shares = _answer(element, self._config, self._key.model_name)
        return counts + count_confidences(np.array([shares.max()]), shares.argmax() == [label])

    def merge_accumulators(
        self, accumulators: Iterable[npt.NDArray[np.float64]]
    ) -> npt.NDArray[np.float64]:
        return np.sum(list(accumulators), axis=0)

    def extract_output(self, counts: npt.NDArray[np.float64]) -> dict[MetricKey, float]:
        error = calibration_of(counts).expected_error if counts.any() else float("nan")
        return {self._key: error}


class _GatherConfidences(beam.CombineFn):
    """Gathers the confidence of each answer, and whether it is right: 16 bytes an image."""

    def __init__(self, key: MetricKey, config: config_pb2.EvalConfig) -> None:
        self._key = key
        self._config = config

    def create_accumulator(self) -> "array[float]":
        return array("d")

    def add_input(self, pairs: "array[float]", element: StandardMetricInputs) -> "array[float]":
        label, shares = _answer(element, self._config, self._key.model_name)
        pairs.extend((shares.max(), shares.argmax() == label))
        return pairs

    def merge_accumulators(self, accumulators: "Iterable[array[float]]") -> "array[float]":
        total = array("d")
        for pairs in accumulators:
            total.extend(pairs)
        return total

    def extract_output(self, pairs: "array[float]") -> dict[MetricKey, float]:
        if not pairs:
            return {self._key: float("nan")}
        confidences, hits = np.frombuffer(pairs).reshape(-1, 2).T
        return {self._key: accuracy_at_coverage(confidences, hits > 0, ANSWERED)}


_COMBINERS: Final = {
    "calibration_error": _CountConfidences,
    "accuracy_at_coverage_90": _GatherConfidences,
}


class SetCoverage(Metric):
    """How often the candidate's prediction set holds the truth, as TestPredictions noted."""

    def __init__(self, name: str) -> None:
        """`name` is the metric's."""
        super().__init__(_set_coverage, name=name)


def _set_coverage(
    name: str, eval_config: config_pb2.EvalConfig, model_names: Iterable[str], **_: object
) -> MetricComputations:
    """A number of the candidate alone: another model's sets may be for another coverage."""
    baselines = {spec.name for spec in eval_config.model_specs if spec.is_baseline}
    noted = FeaturePreprocessor(feature_keys=[features.CANDIDATE_COVERED])
    return [
        MetricComputation(keys=[key], preprocessors=[noted], combiner=_MeanCovered(key))
        for model in model_names
        if model not in baselines
        for key in [MetricKey(name=name, model_name=model)]
    ]


class _MeanCovered(beam.CombineFn):
    """Counts images whose prediction set holds the truth."""

    def __init__(self, key: MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> tuple[int, int]:
        return 0, 0

    def add_input(self, counts: tuple[int, int], element: StandardMetricInputs) -> tuple[int, int]:
        covered = np.ravel(element.get_features()[features.CANDIDATE_COVERED])
        return counts[0] + int(covered.sum()), counts[1] + len(covered)

    def merge_accumulators(self, accumulators: Iterable[tuple[int, int]]) -> tuple[int, int]:
        covered, images = np.sum(list(accumulators), axis=0)
        return int(covered), int(images)

    def extract_output(self, counts: tuple[int, int]) -> dict[MetricKey, float]:
        covered, images = counts
        return {self._key: covered / images if images else float("nan")}


def _answer(
    element: StandardMetricInputs, config: config_pb2.EvalConfig, model: str | None
) -> tuple[int, npt.NDArray[np.floating]]:
    """Returns the true class of an image, and the model's probabilities, ``[classes]``."""
    label, shares, _ = next(
        metric_util.to_label_prediction_example_weight(
            element, eval_config=config, model_name=model or "", flatten=False
        )
    )
    return int(label.item()), shares


class AccuracyLoss(Metric):
    """The p-value of the paired test that the candidate is worse than the baseline."""

    def __init__(
        self, tolerated: float, code_fingerprint: str = "", name: str = ACCURACY_LOSS
    ) -> None:
        """As TFMA makes it from the configuration.

        Args:
          tolerated: how much worse accuracy may be, in [0, 1).
          code_fingerprint: of the code that Evaluator runs, so that changed code runs again; it
            changes nothing in the number.
          name: of the metric.
        """
        super().__init__(_accuracy_loss, tolerated=tolerated, name=name)


def _accuracy_loss(
    tolerated: float,
    name: str,
    eval_config: config_pb2.EvalConfig,
    model_names: Iterable[str],
    **_: object,
) -> MetricComputations:
    """Nothing where there is no baseline; else a number of the candidate against it."""
    baselines = {spec.name for spec in eval_config.model_specs if spec.is_baseline}
    return [
        MetricComputation(
            keys=[key],
            preprocessors=None,
            combiner=_CompareAnswers(key, baseline, tolerated, eval_config),
        )
        for baseline in baselines
        for model in model_names
        if model != baseline
        for key in [MetricKey(name=name, model_name=model, is_diff=True)]
    ]


@dataclass
class _Counts:
    gained: int = 0
    lost: int = 0
    images: int = 0


class _CompareAnswers(beam.CombineFn):
    """Counts which of two models alone is right."""

    def __init__(
        self, key: MetricKey, baseline: str, tolerated: float, config: config_pb2.EvalConfig
    ) -> None:
        self._key = key
        self._baseline = baseline
        self._tolerated = tolerated
        self._config = config

    def create_accumulator(self) -> _Counts:
        return _Counts()

    def add_input(self, counts: _Counts, element: StandardMetricInputs) -> _Counts:
        candidate, baseline = (
            self._is_right(element, model) for model in (self._key.model_name, self._baseline)
        )
        counts.gained += candidate and not baseline
        counts.lost += baseline and not candidate
        counts.images += 1
        return counts

    def merge_accumulators(self, accumulators: Iterable[_Counts]) -> _Counts:
        total = _Counts()
        for counts in accumulators:
            total.gained += counts.gained
            total.lost += counts.lost
            total.images += counts.images
        return total

    def extract_output(self, counts: _Counts) -> dict[MetricKey, float]:
        if not counts.images:
            return {self._key: float("nan")}
        p_value = loss_p_value(counts.gained, counts.lost, counts.images, self._tolerated)
        return {self._key: p_value}

    def _is_right(self, element: StandardMetricInputs, model: str) -> bool:
        label, shares = _answer(element, self._config, model)
        return bool(shares.argmax() == label)
