"""Statistics of stored predictions, by scikit-learn and SciPy."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn import metrics

from inception_finetune.components.settings import Section

CONFIDENCE = 0.95
# Guo et al., "On Calibration of Modern Neural Networks" (2017), section 2: bins of equal width.
CALIBRATION_BINS = 15


class Accuracy(Section):
    """Share of images that were classified right, with the Wilson score interval of 95 %."""

    correct: int
    images: int
    value: float
    low: float
    high: float


class Comparison(Section):
    """Two models on the same images."""

    accuracy: Accuracy  # of the other model
    gained: int  # images that it got wrong and the candidate right
    lost: int  # images that it got right and the candidate wrong
    p_value: float  # of McNemar's exact test
    low: float  # the 95 % interval of the candidate's gain in accuracy, exact as the test is
    high: float


class ClassScores(Section):
    """Precision, recall and F1 of one class."""

    name: str
    images: int  # that are of the class
    correct: int  # of them, that were classified as it
    predicted: int  # that were classified as it
    precision: float | None  # None where nothing was classified as it
    recall: float | None  # None where no image is
    f1: float | None


class CalibrationBin(Section):
    """Answers whose confidence lies between two bounds."""

    low: float  # confidence above this one
    high: float
    images: int
    confidence: float | None  # their mean; None where there are no images
    accuracy: float | None


class Confusion(Section):
    """Images of one class that were taken for another."""

    truth: int
    predicted: int
    images: int


class Calibration(Section):
    """How well confidence agrees with accuracy (Guo et al. 2017, arXiv:1706.04599)."""

    expected_error: float  # mean distance of confidence and accuracy, weighted by images
    bins: tuple[CalibrationBin, ...]


def accuracy(hits: npt.NDArray[np.bool_]) -> Accuracy:
    """Accuracy of N >= 1 predictions with its 95 % Wilson interval; `hits` is ``[N]`` bool."""
    correct = int(hits.sum())
    interval = stats.binomtest(correct, len(hits)).proportion_ci(CONFIDENCE, method="wilson")
    return Accuracy(
        correct=correct,
        images=len(hits),
        value=correct / len(hits),
        low=float(interval.low),
        high=float(interval.high),
    )


def compare(hits: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_]) -> Comparison:
    """The candidate's and another model's ``[N]`` answers to the same images."""
    gained, lost = int((hits & ~others).sum()), int((~hits & others).sum())
    low, high = _gain_interval(gained, lost, len(hits))
    return Comparison(
        accuracy=accuracy(others),
        gained=gained,
        lost=lost,
        p_value=mcnemar(gained, lost),
        low=low,
        high=high,
    )


def _gain_interval(gained: int, lost: int, images: int) -> tuple[float, float]:
    """Clopper and Pearson's, of the share of gains among the images on which the models differ.

    It holds 0 where McNemar's exact test finds no difference at the same level.
    """
    differing = gained + lost
    if not differing:
        return 0.0, 0.0
    share = stats.binomtest(gained, differing).proportion_ci(CONFIDENCE, method="exact")
    scale = differing / images
    return (2 * float(share.low) - 1) * scale, (2 * float(share.high) - 1) * scale


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact test: how likely so uneven a split were, were both models equally good."""
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def loss_p_value(gained: int, lost: int, images: int, tolerated: float = 0.0) -> float:
    """How likely such a loss were, were the candidate worse by no more than `tolerated`.

    McNemar's exact test, one-sided: that images are lost as often as gained. It knows no
    tolerance, so where there is one, Student's paired test of the mean change is made too, and
    the larger p-value counts: what is refused by it, both refuse.

    Args:
      gained: images that the candidate alone got right.
      lost: images that the other model alone got right.
      images: all that both were asked about, at least 1.
      tolerated: how much worse accuracy may be, in [0, 1).

    Returns:
      In [0, 1].
    """
    if not gained + lost:
        return 1.0
    exact = float(stats.binomtest(lost, gained + lost, alternative="greater").pvalue)
    if not tolerated or images in (gained, lost):  # Student's needs images that differ
        return exact
    changes = np.repeat([1.0, -1.0, 0.0], [gained, lost, images - gained - lost])
    return max(exact, float(stats.ttest_1samp(changes, -tolerated, alternative="less").pvalue))


def confusions(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]
) -> tuple[Confusion, ...]:
    """Each pair of classes of which the one was taken for the other, the most frequent first."""
    wrong = labels != predicted
    pairs, images = np.unique(
        np.stack([labels[wrong], predicted[wrong]], axis=1), axis=0, return_counts=True
    )
    return tuple(
        Confusion(truth=int(pairs[i, 0]), predicted=int(pairs[i, 1]), images=int(images[i]))
        for i in np.argsort(-images, kind="stable")
    )


def class_scores(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], names: Sequence[str]
) -> tuple[ClassScores, ...]:
    """In the order of the ids."""
    precision, recall, f1, images = metrics.precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(names)), zero_division=np.nan
    )
    counts = np.bincount(predicted, minlength=len(names))
    correct = np.bincount(labels[labels == predicted], minlength=len(names))
    return tuple(
        ClassScores(
            name=name,
            images=int(images[index]),
            correct=int(correct[index]),
            predicted=int(counts[index]),
            precision=_or_none(precision[index]),
            recall=_or_none(recall[index]),
            f1=_or_none(f1[index]),
        )
        for index, name in enumerate(names)
    )


def calibration(
    confidences: npt.NDArray[np.floating], hits: npt.NDArray[np.bool_], bins: int = CALIBRATION_BINS
) -> Calibration:
    """How far the predicted class's probability (``[N]`` in [0, 1]) is from how often it is right.

    Bins hold confidences in (low, high], as in Guo et al.
    """
    return calibration_of(count_confidences(confidences, hits, bins))


def accuracy_at_coverage(
    confidences: npt.NDArray[np.floating], hits: npt.NDArray[np.bool_], coverage: float
) -> float:
    """How often answers are right, of the share of them that the model is surest of.

    A point of the curve of El-Yaniv and Wiener, "On the Foundations of Noise-free Selective
    Classification" (2010). Among equally sure answers at the border, the mean is taken, so that
    their order does not matter.

    Args:
      confidences: ``[N]``, the probability of each answer, N at least 1.
      hits: ``[N]``, whether each is right.
      coverage: the share that counts, in (0, 1].
    """
    kept = math.ceil(len(hits) * coverage)
    least = np.sort(confidences)[::-1][kept - 1]
    surer, border = confidences > least, confidences == least
    of_border = (kept - surer.sum()) * hits[border].mean()
    return float((hits[surer].sum() + of_border) / kept)


def count_confidences(
    confidences: npt.NDArray[np.floating], hits: npt.NDArray[np.bool_], bins: int = CALIBRATION_BINS
) -> npt.NDArray[np.float64]:
    """Counts answers by bins of confidence; counts of parts of the answers can be added.

    Args:
      confidences: ``[N]`` in [0, 1].
      hits: ``[N]``, whether each answer is right.
      bins: of equal width.

    Returns:
      ``[3, bins]``: answers, the sum of their confidences, and how many are right.
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(confidences, edges, right=True) - 1, 0, bins - 1)
    return np.stack(
        [np.bincount(place, of, bins) for of in (np.ones(len(place)), confidences, hits)]
    )


def calibration_of(counts: npt.NDArray[np.float64]) -> Calibration:
    """The calibration of at least one answer, from what `count_confidences` returns."""
    images, confidence, right = counts
    filled = np.maximum(images, 1)
    edges = np.linspace(0, 1, len(images) + 1)
    found = tuple(
        CalibrationBin(
            low=float(edges[index]),
            high=float(edges[index + 1]),
            images=int(images[index]),
            confidence=float(confidence[index] / filled[index]) if images[index] else None,
            accuracy=float(right[index] / filled[index]) if images[index] else None,
        )
        for index in range(len(images))
    )
    error = float(np.abs(confidence - right).sum() / images.sum())
    return Calibration(expected_error=error, bins=found)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
