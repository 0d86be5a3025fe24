"""What the gate can bound, as data: the one place to add a metric.

The settings of the gate, Evaluator's configuration, the verdict, the report, the comparison of
two runs and the parameters of a Kubeflow package follow from `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Labels = npt.NDArray[np.int64]
    Probabilities = npt.NDArray[np.float32]

_SMALLEST_PROBABILITY: Final = 1e-7  # for the logarithm: the bound that Keras uses


@dataclass(frozen=True)
class Metric:
    """A number that is measured over test examples.

    Attributes:
      name: the key in settings, metrics and artifacts, such as ``top_2_accuracy``.
      title: what people read.
      higher_is_better: the direction; a bound is a lowest value then, else a highest one.
      largest: the largest value that there is, None where there is none; the smallest is 0.
      tfma_class: the metric's class name in TFMA or Keras.
      measure: the same number from labels ``[N]`` and probabilities ``[N, classes]``, N > 0.
      tfma_arguments: of that class, besides its name.
    """

    name: str
    title: str
    higher_is_better: bool
    largest: float | None
    tfma_class: str
    measure: Callable[[Labels, Probabilities], float]
    tfma_arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bound_key(self) -> str:
        """The key of its bound in the settings of the gate."""
        return "at_least" if self.higher_is_better else "at_most"

    @property
    def parameter(self) -> str:
        """The bound's name where a Kubeflow package is submitted."""
        return f"{'min' if self.higher_is_better else 'max'}_{self.name}"


def _accuracy(labels: Labels, probabilities: Probabilities) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def _top_2_accuracy(labels: Labels, probabilities: Probabilities) -> float:
    likelier = probabilities > _of_truth(labels, probabilities)[:, None]
    return float((likelier.sum(axis=1) < 2).mean())


def _cross_entropy(labels: Labels, probabilities: Probabilities) -> float:
    import numpy as np

    of_truth = np.maximum(_of_truth(labels, probabilities), _SMALLEST_PROBABILITY)
    return float(-np.log(of_truth).mean())


def _of_truth(labels: Labels, probabilities: Probabilities) -> Probabilities:
    return probabilities[range(len(labels)), labels]


ACCURACY: Final = Metric(
    name="accuracy",
    title="accuracy",
    higher_is_better=True,
    largest=1.0,
    tfma_class="SparseCategoricalAccuracy",
    measure=_accuracy,
)
METRICS: Final = {
    metric.name: metric
    for metric in (
        ACCURACY,
        Metric(
            name="top_2_accuracy",
            title="top-2 accuracy",
            higher_is_better=True,
            largest=1.0,
            tfma_class="SparseTopKCategoricalAccuracy",
            tfma_arguments={"k": 2},
            measure=_top_2_accuracy,
        ),
        Metric(
            name="cross_entropy",
            title="cross-entropy",
            higher_is_better=False,
            largest=None,
            tfma_class="SparseCategoricalCrossentropy",
            measure=_cross_entropy,
        ),
    )
}
