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
    Weights = npt.NDArray[np.float64]

# The p-value of the paired test that the candidate's accuracy is worse than the last blessed
# model's, as TFMA writes it; its bound is the gate's error rate.
ACCURACY_LOSS: Final = "accuracy_loss_p_value"
OWN_TFMA_METRICS: Final = f"{__package__}.tfma_metrics"  # module of those that TFMA does not have
SET_COVERAGE: Final = "set_coverage"
ANSWERED: Final = 0.9  # share of the images that `accuracy_at_coverage_90` is measured on
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
      measure: the same number from labels ``[N]`` and probabilities ``[N, classes]``, N > 0; None
        where these do not give it: prediction sets are another output, of some models alone.
      tfma_arguments: of that class, besides its name.
      tfma_module: of that class, where it is neither TFMA's nor Keras'.
      of_confusions: the same number from pairs of a class and the one that was answered, each
        ``[M]``, and the images of each pair, None for one each. Metrics over classes have it:
        they say nothing of one class by itself.
    """

    name: str
    title: str
    higher_is_better: bool
    largest: float | None
    tfma_class: str
    measure: Callable[[Labels, Probabilities], float] | None
    tfma_arguments: Mapping[str, Any] = field(default_factory=dict)
    tfma_module: str = ""
    of_confusions: Callable[[Labels, Labels, Weights | None], float] | None = None

    @property
    def over_classes(self) -> bool:
        """Whether it is a number of all classes together, which has no bound for each of them."""
        return self.of_confusions is not None

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


def _calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    from inception_finetune.components.evaluation.measures import calibration

    hits = probabilities.argmax(axis=1) == labels
    return calibration(probabilities.max(axis=1), hits).expected_error


def _accuracy_at_coverage(labels: Labels, probabilities: Probabilities) -> float:
    from inception_finetune.components.evaluation.measures import accuracy_at_coverage

    hits = probabilities.argmax(axis=1) == labels
    return accuracy_at_coverage(probabilities.max(axis=1), hits, ANSWERED)


def _balanced_accuracy(truth: Labels, answered: Labels, images: Weights | None) -> float:
    """The mean recall of the classes that there are images of."""
    return float(_recalls(truth, answered, images).mean())


def _smallest_recall(truth: Labels, answered: Labels, images: Weights | None) -> float:
    return float(_recalls(truth, answered, images).min())


def _recalls(truth: Labels, answered: Labels, images: Weights | None) -> Weights:
    import numpy as np
    from sklearn.metrics import recall_score

    classes = np.unique(truth)
    recalls: Weights = recall_score(
        truth, answered, labels=classes, average=None, sample_weight=images, zero_division=0
    )
    return recalls


def _macro_f1(truth: Labels, answered: Labels, images: Weights | None) -> float:
    """The mean F1 of the classes that there are images of or that were answered."""
    from sklearn.metrics import f1_score

    return float(f1_score(truth, answered, average="macro", sample_weight=images, zero_division=0))


def _over_classes(
    name: str, title: str, of_confusions: Callable[[Labels, Labels, Weights | None], float]
) -> Metric:
    return Metric(
        name=name,
        title=title,
        higher_is_better=True,
        largest=1.0,
        tfma_class="OverClasses",
        tfma_module=OWN_TFMA_METRICS,
        measure=lambda labels, shares: of_confusions(labels, shares.argmax(axis=1), None),
        of_confusions=of_confusions,
    )


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
        Metric(
            name="calibration_error",
            title="calibration error",
            higher_is_better=False,
            largest=1.0,
            tfma_class="OverAnswers",
            tfma_module=OWN_TFMA_METRICS,
            measure=_calibration_error,
        ),
        Metric(
            name="accuracy_at_coverage_90",
            title="accuracy at 90 % coverage",
            higher_is_better=True,
            largest=1.0,
            tfma_class="OverAnswers",
            tfma_module=OWN_TFMA_METRICS,
            measure=_accuracy_at_coverage,
        ),
        Metric(
            name=SET_COVERAGE,
            title="coverage of the prediction sets",
            higher_is_better=True,
            largest=1.0,
            tfma_class="SetCoverage",
            tfma_module=OWN_TFMA_METRICS,
            measure=None,
        ),
        _over_classes("balanced_accuracy", "balanced accuracy", _balanced_accuracy),
        _over_classes("macro_f1", "macro F1", _macro_f1),
        _over_classes("smallest_recall", "smallest recall of a class", _smallest_recall),
    )
}
