"""What differs between two runs' answers to the test images: in numbers, by class, by image."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from inception_finetune.components.evaluation import measures
from inception_finetune.components.evaluation.label_names import differing
from inception_finetune.components.evaluation.metrics import METRICS
from inception_finetune.components.test_predictions.store import Predictions

SCORES: Final = ("precision", "recall", "F1")  # fields of ClassScores, as they are written


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    number: int
    blessed: bool
    label_names: tuple[str, ...]
    predictions: Predictions
    pictures: dict[str, bytes]  # encoded, of all test images by id


class Disagreement(NamedTuple):
    """One test image, to which the runs give different labels."""

    id: str
    truth: str  # a class name
    predicted: tuple[str, str]
    probabilities: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  # [classes] each


@dataclass(frozen=True)
class Comparison:
    """Where the answers of two runs, a and b, differ."""

    a: Side
    b: Side
    common: int  # test images that both were asked about: the same id, picture and class name
    reclassed: int  # the same id and picture, of another class in b than in a: left out
    only_a: tuple[Disagreement, ...]  # a is right, b is not; the most certain answers first
    only_b: tuple[Disagreement, ...]
    neither: tuple[Disagreement, ...]

    @property
    def other_classes(self) -> str | None:
        """How b's classes differ from a's; None where they are the same, in whatever order."""
        return differing(self.b.label_names, self.a.label_names) or None

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test on the images that one of the runs alone gets right."""
        return measures.mcnemar(gained=len(self.only_b), lost=len(self.only_a))


def compare(a: Side, b: Side) -> Comparison:
    """Matches images by id and content, as an id alone could name another picture; classes by name.

    An image whose class has another name in the two runs is left out, and counted.
    """
    places = {identity: place for place, identity in enumerate(a.predictions.ids)}
    pairs = [
        (places[identity], place)
        for place, identity in enumerate(b.predictions.ids)
        if identity in places and a.pictures[identity] == b.pictures[identity]
    ]
    rows_a, rows_b = np.array(pairs, np.int64).reshape(-1, 2).T
    names_a, names_b = np.array(a.label_names), np.array(b.label_names)
    truth = names_b[b.predictions.labels[rows_b]]
    same = names_a[a.predictions.labels[rows_a]] == truth
    rows_a, rows_b, truth = rows_a[same], rows_b[same], truth[same]
    shares = a.predictions.candidate[rows_a], b.predictions.candidate[rows_b]
    predicted = names_a[shares[0].argmax(axis=1)], names_b[shares[1].argmax(axis=1)]
    found: dict[str, list[Disagreement]] = {"a": [], "b": [], "neither": []}
    certainty = np.maximum(shares[0].max(axis=1), shares[1].max(axis=1))
    for place in np.argsort(-certainty, kind="stable"):
        labels = str(predicted[0][place]), str(predicted[1][place])
        if labels[0] != labels[1]:
            right = {labels[0]: "a", labels[1]: "b"}.get(str(truth[place]), "neither")
            identity = b.predictions.ids[rows_b[place]]
            probabilities = shares[0][place], shares[1][place]
            found[right].append(Disagreement(identity, str(truth[place]), labels, probabilities))
    return Comparison(
        a,
        b,
        int(same.sum()),
        int((~same).sum()),
        tuple(found["a"]),
        tuple(found["b"]),
        tuple(found["neither"]),
    )


class Pair(NamedTuple):
    """A number of both runs; None where it is not defined, as nothing is of the class."""

    before: float | None
    after: float | None

    @property
    def change(self) -> float | None:
        """From a to b; None where one of the numbers is not defined."""
        if self.before is None or self.after is None:
            return None
        return self.after - self.before

    @property
    def rises(self) -> bool:
        """Whether b's number is known to be higher."""
        return self.change is not None and self.change > 0

    @property
    def falls(self) -> bool:
        """Whether b's number is known to be lower."""
        return self.change is not None and self.change < 0


def compare_metrics(found: Comparison) -> dict[str, Pair]:
    """Over all test images of each run."""
    before, after = measure(found.a), measure(found.b)
    return {metric: Pair(before[metric], after[metric]) for metric in before}


def compare_classes(found: Comparison) -> dict[str, dict[str, Pair]]:
    """`SCORES` of each class that one of the runs knows."""
    before, after = _score_classes(found.a), _score_classes(found.b)
    return {
        label: {
            score: Pair(*(getattr(one.get(label), score.lower(), None) for one in (before, after)))
            for score in SCORES
        }
        for label in {**before, **after}
    }


def measure(side: Side) -> dict[str, float]:
    """The gate's metrics over all test images of the run, by title."""
    labels, shares = side.predictions.labels, side.predictions.candidate
    return {
        metric.title: metric.measure(labels, shares)
        for metric in METRICS.values()
        if metric.measure
    }


def _score_classes(side: Side) -> dict[str, measures.ClassScores]:
    labels, predicted = side.predictions.labels, side.predictions.candidate.argmax(axis=1)
    return {row.name: row for row in measures.class_scores(labels, predicted, side.label_names)}
