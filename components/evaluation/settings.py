"""The configuration's section `gate`."""

from typing import Annotated

from pydantic import Field, field_validator

from inception_finetune.components.evaluation.metrics import ACCURACY, METRICS, Metric
from inception_finetune.components.settings import Fraction, Section

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Bound(Section):
    """What the gate asks of one metric; what is None is not asked."""

    at_least: _Finite | None = None  # the lowest value, of a metric that is better when higher
    at_most: _Finite | None = None  # the highest value, of a metric that is better when lower
    # How much worse than the latest blessed model's the value may be.
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    every_class: bool = False  # whether at_least or at_most must hold for each class by itself

    def value(self, metric: Metric) -> float | None:
        """The bound of the value itself, in the metric's direction."""
        return self.at_least if metric.higher_is_better else self.at_most


class Gate(Section):
    """What a model must reach on the test images to be blessed."""

    min_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.7985  # the 2017 article's result
    # Share of the test images by which the model may be worse than the latest blessed one. It is
    # refused where a paired test shows that it is worse by more.
    max_accuracy_loss: Fraction = 0.0
    # Of that test: how often a model that is no worse may be refused. 0.5 is nearly a comparison of
    # the two accuracies.
    error_rate: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    every_class: bool = False  # whether min_accuracy must hold for each class by itself
    # Of other metrics, by name: gate.bounds.cross_entropy.at_most=0.5
    bounds: dict[str, Bound] = {}
    batch_size: int = Field(256, ge=1)  # test images given to the exported model at a time

    @field_validator("bounds")
    @classmethod
    def _fit_their_metrics(cls, bounds: dict[str, Bound]) -> dict[str, Bound]:
        for name, bound in bounds.items():
            _check(name, bound)
        return bounds

    @property
    def bounds_by_metric(self) -> dict[str, Bound]:
        """All that is asked but `max_accuracy_loss`, accuracy first, by the metric's name."""
        accuracy = Bound(
            at_least=self.min_accuracy,
            every_class=self.every_class,
        )
        return {ACCURACY.name: accuracy, **self.bounds}

    @property
    def needs_every_class(self) -> bool:
        """Whether a class without test images would leave a bound unmeasured."""
        return any(
            bound.every_class or METRICS[name].over_classes
            for name, bound in self.bounds_by_metric.items()
        )


def _check(name: str, bound: Bound) -> None:
    if name == ACCURACY.name:
        raise ValueError(
            "accuracy is bounded by gate.min_accuracy, gate.max_accuracy_loss and gate.every_class"
        )
    metric = METRICS.get(name)
    if metric is None:
        known = ", ".join(other for other in METRICS if other != ACCURACY.name)
        raise ValueError(f"must name metrics out of {known}, here it names {name}")
    wrong_key = "at_most" if metric.higher_is_better else "at_least"
    if getattr(bound, wrong_key) is not None:
        better = "higher" if metric.higher_is_better else "lower"
        raise ValueError(
            f"{name} is better when it is {better}: give {name}.{metric.bound_key}, not "
            f"{name}.{wrong_key}"
        )
    value = bound.value(metric)
    if value is None and bound.tolerance is None:
        raise ValueError(f"{name} must have {metric.bound_key} or tolerance")
    if metric.measure is None and bound.tolerance is not None:
        raise ValueError(
            f"{name} must have no tolerance: the last blessed model's sets may be made for another "
            f"coverage. Give {name}.{metric.bound_key}"
        )
    if metric.over_classes and bound.every_class:
        raise ValueError(
            f"{name} is one number of all classes: it must not have every_class. "
            "gate.every_class=true bounds the recall of each class"
        )
    if value is None and bound.every_class:
        raise ValueError(f"{name}.every_class needs {name}.{metric.bound_key}")
    if value is not None and not 0 <= value <= (metric.largest or float("inf")):
        most = "" if metric.largest is None else f" and at most {metric.largest:g}"
        raise ValueError(
            f"{name}.{metric.bound_key} must be at least 0{most}, here it is {value:g}"
        )
