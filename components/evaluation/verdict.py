"""The gate's verdict, as Evaluator wrote it: metrics, and each threshold with value and margin."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics.metric_types import MetricKey
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib as slicer
from tensorflow_model_analysis.writers import eval_config_writer

from inception_finetune.components import features
from inception_finetune.components.evaluation.measures import Comparison
from inception_finetune.components.evaluation.metrics import ACCURACY, ACCURACY_LOSS, METRICS
from inception_finetune.components.settings import Section

OVERALL: Final = "overall"
_Kind = Literal["value", "change", "relative change", "p-value"]


class Threshold(Section):
    """One bound of the gate on one slice of the test images."""

    slice: str  # "overall" or "<feature>=<value>", of the label the name of its class
    metric: str
    # Of the metric itself, of its change against the last blessed model, of that change as a
    # share of the last blessed model's value, or of the paired test that the metric is worse.
    of: _Kind = "value"
    upper: bool = False  # whether the bound is the highest value that holds, else the lowest
    bound: float
    value: float  # NaN where nothing was measured
    tolerated: float = 0.0  # of a p-value: how much worse the metric may be
    measured_change: float | None = None  # of a p-value: the metric's own

    @property
    def title(self) -> str:
        """The metric as people read it."""
        metric = METRICS.get(self.metric)
        return metric.title if metric else self.metric

    @property
    def what(self) -> str:
        """What the bound is of, such as "accuracy, change from the last blessed model"."""
        if self.of == "p-value":
            more = f" by more than {self.tolerated:g}" if self.tolerated else ""
            return f"{self.title}, p-value of a fall below the last blessed model's{more}"
        return f"{self.title}, {self.of} from the last blessed model" if self.change else self.title

    @property
    def comparison(self) -> str:
        """What was measured beside the bound, such as "accuracy 0.9889 >= 0.97"."""
        return f"{self.title} {self.value:.4f} {'<=' if self.upper else '>='} {self.bound:g}"

    @property
    def change(self) -> bool:
        """Whether it compares with the last blessed model."""
        return self.of != "value"

    @property
    def signed(self) -> bool:
        """Whether its numbers are changes, which have a sign."""
        return self.of in ("change", "relative change")

    @property
    def margin(self) -> float:
        """Below 0 where the bound is broken."""
        return self.bound - self.value if self.upper else self.value - self.bound

    @property
    def passed(self) -> bool:
        """Whether the bound holds; False where nothing was measured."""
        return self.margin >= 0

    @property
    def sentence(self) -> str:
        """What is asked, what was measured, and what is missing."""
        asked = self._asked
        if math.isnan(self.value):
            return f"{self.slice} {self.title} must {asked}; it was not measured"
        if self.of == "p-value":
            change = math.nan if self.measured_change is None else self.measured_change
            return (
                f"{self.slice} {self.title} must {asked}, and a paired test shows that it did: it "
                f"changed by {change:+.4f}, p = {self.value:.2g} below {self.bound:g}"
            )
        missing = f"{self._number(-self.margin, '.4f')} " + (
            "short" if "at least" in asked else "too much"
        )
        if self.change:
            measured = f"changed by {self._number(self.value, '+.4f')}"
        else:
            measured = f"is {self.value:.4f}"
        return f"{self.slice} {self.title} must {asked}; it {measured}, {missing}"

    @property
    def _asked(self) -> str:
        if self.of == "p-value":
            return f"not fall more than {self.tolerated:g} below the last blessed model"
        if not self.change:
            return f"be at {'most' if self.upper else 'least'} {self.bound:g}"
        if self.upper:
            asked = "not rise more than {} above" if self.bound >= 0 else "fall at least {} below"
        else:
            asked = "not fall more than {} below" if self.bound <= 0 else "rise at least {} above"
        return f"{asked.format(self._number(abs(self.bound), 'g'))} the last blessed model"

    def _number(self, value: float, form: str) -> str:
        relative = self.of == "relative change"
        return f"{100 * value:{form}} %" if relative else f"{value:{form}}"


class Verdict(Section):
    """What Evaluator decided, and why."""

    blessed: bool
    thresholds: tuple[Threshold, ...]
    metrics: dict[str, float]  # of the candidate, over all test images

    @property
    def refusals(self) -> tuple[str, ...]:
        """A sentence for each bound that is broken."""
        return tuple(bound.sentence for bound in self.thresholds if not bound.passed)

    def chance(self, comparison: Comparison | None) -> str | None:
        """That the model is blessed though it did worse than the last one, within chance.

        Args:
          comparison: of the candidate with that model, on the same images.
        """
        if comparison is None or not self.blessed or comparison.gained >= comparison.lost:
            return None
        if comparison.high < 0:
            return None
        images = comparison.accuracy.images
        gain = (comparison.gained - comparison.lost) / images
        return (
            f"the change of {gain:+.4f} on {images:,} images is within chance: paired 95 % "
            f"interval {comparison.low:+.4f} to {comparison.high:+.4f}, McNemar's p = "
            f"{comparison.p_value:.2g}"
        )


def read_verdict(uri: str, label_names: Sequence[str]) -> Verdict:
    """The verdict in the evaluation artifact at `uri`; Evaluator itself lists only failures.

    Args:
      uri: the artifact's folder.
      label_names: the candidate's, in the order of the label ids.

    Raises:
      ValueError: Evaluator was given a threshold that cannot be read here, or its verdict is not
        what its thresholds say.
    """
    config, *_ = eval_config_writer.load_eval_run(uri)
    slices = {
        slicer.deserialize_slice_key(row.slice_key): {
            MetricKey.from_proto(item.key): item.value.double_value.value
            for item in row.metric_keys_and_values
        }
        for row in tfma.load_metrics(uri)
    }
    verdict = Verdict(
        blessed=tfma.load_validation_result(uri).validation_ok,
        thresholds=tuple(read_thresholds(config, slices, label_names)),
        metrics={
            key.name: value
            for key, value in slices[()].items()
            if key.model_name != tfma.BASELINE_KEY and not key.is_diff
        },
    )
    if verdict.blessed == bool(verdict.refusals):
        raise ValueError(
            f"Evaluator's verdict in {uri} does not follow from its thresholds: {verdict}"
        )
    return verdict


def read_thresholds(
    config: config_pb2.EvalConfig,
    slices: Mapping[slicer.SliceKeyType, Mapping[MetricKey, float]],
    label_names: Sequence[str],
) -> Iterator[Threshold]:
    """Each bound that Evaluator holds the candidate to, with what was measured.

    Raises:
      ValueError: a threshold between slices, or one without a direction.
    """
    thresholds = tfma.metrics.metric_thresholds_from_metrics_specs(
        config.metrics_specs, eval_config=config
    )
    tolerated = _tolerated(config)
    for key, bounded in thresholds.items():
        paired = key.name == ACCURACY_LOSS
        if key.model_name == tfma.BASELINE_KEY:
            continue  # that one was blessed by bounds of its own
        for spec, threshold in bounded:
            for where in _bounded_slices(spec, slices):
                name = _slice_name(where, label_names)
                measured = slices.get(where, {})
                for of, upper, bound in _bounds(threshold):
                    value = measured.get(key, math.nan)
                    if of == "relative change":
                        before = measured.get(key.make_baseline_key(tfma.BASELINE_KEY), math.nan)
                        # Nothing to take a share of is not measured, as TFMA has it.
                        value = math.nan if math.isclose(before, 0.0) else value / before
                    found = {"slice": name, "upper": upper, "bound": bound, "value": value}
                    if paired:
                        change = measured.get(key._replace(name=ACCURACY.name))
                        yield Threshold(
                            metric=ACCURACY.name,
                            of="p-value",
                            tolerated=tolerated,
                            measured_change=change,
                            **found,
                        )
                    else:
                        yield Threshold(metric=key.name, of=of, **found)


def _tolerated(config: config_pb2.EvalConfig) -> float:
    """The loss of accuracy that the paired test was given; 0 where there is no such test."""
    settings = [
        json.loads(one.config or "{}") for spec in config.metrics_specs for one in spec.metrics
    ]
    return next((one["tolerated"] for one in settings if one.get("name") == ACCURACY_LOSS), 0.0)


def _slice_name(where: slicer.SliceKeyType, label_names: Sequence[str]) -> str:
    names = dict(enumerate(label_names))
    shown = (
        # The number is text where Evaluator was asked for one class alone.
        (column, names.get(int(value), value))
        if column == features.LABEL and str(value).isdecimal()
        else (column, value)
        for column, value in where
    )
    return ", ".join(f"{column}={value}" for column, value in shown) or OVERALL


def _bounds(
    threshold: config_pb2.GenericValueThreshold | config_pb2.GenericChangeThreshold,
) -> Iterator[tuple[_Kind, bool, float]]:
    """Of what, whether from above, and the bound."""
    if isinstance(threshold, config_pb2.GenericValueThreshold):
        if threshold.HasField("lower_bound"):
            yield "value", False, threshold.lower_bound.value
        if threshold.HasField("upper_bound"):
            yield "value", True, threshold.upper_bound.value
        return
    directions = config_pb2.MetricDirection
    if threshold.direction not in (directions.HIGHER_IS_BETTER, directions.LOWER_IS_BETTER):
        raise ValueError(f"change threshold without a direction: {threshold}")
    upper = threshold.direction == directions.LOWER_IS_BETTER
    if threshold.HasField("absolute"):
        yield "change", upper, threshold.absolute.value
    if threshold.HasField("relative"):
        yield "relative change", upper, threshold.relative.value


def _bounded_slices(
    spec: config_pb2.SlicingSpec | config_pb2.CrossSlicingSpec | None,
    slices: Mapping[slicer.SliceKeyType, Mapping[MetricKey, float]],
) -> list[slicer.SliceKeyType]:
    """The slices that a threshold holds for: all where it names none.

    One that is asked for and that no image is of is among them, without anything measured.
    """
    if spec is None:
        return list(slices)
    if isinstance(spec, config_pb2.CrossSlicingSpec):
        raise ValueError(f"threshold between slices, which is not supported: {spec}")
    chosen = slicer.SingleSliceSpec(spec=spec)
    found = [where for where in slices if chosen.is_slice_applicable(where)]
    asked = [*((column, "*") for column in spec.feature_keys), *spec.feature_values.items()]
    return found or [tuple(asked)]
