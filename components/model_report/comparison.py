"""Two runs side by side: what differs in numbers, by class, and on which images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from components.model_report import measures
from components.model_report.facts import Facts
from components.model_report.page import templates
from components.model_report.pictures import read_pictures
from components.test_predictions.store import Predictions

SHOWN: Final = 36  # images of each kind of disagreement
_CLASSES_SHOWN: Final = 3  # probabilities below an image, of each run


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    number: int
    facts: Facts
    predictions: Predictions
    examples: str  # where its examples lie


@dataclass(frozen=True)
class Disagreement:
    """One test image, to which the runs give different labels."""

    id: str
    truth: int
    said: tuple[int, int]
    probabilities: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  # [classes] each


@dataclass(frozen=True)
class Comparison:
    a: Side
    b: Side
    common: int  # test images that both were asked about
    by_image: measures.Comparison | None  # b against a on these; None where there are none
    disagreements: Mapping[str, tuple[Disagreement, ...]]  # by who is right: "b", "a", "neither"


def compare(a: Side, b: Side) -> Comparison:
    """Images are the same where data sets are: an id alone could name another picture."""
    if a.facts.lineage.dataset_fingerprint != b.facts.lineage.dataset_fingerprint:
        return Comparison(a, b, 0, None, {})
    places = {identity: place for place, identity in enumerate(a.predictions.ids)}
    pairs = [
        (places[identity], place)
        for place, identity in enumerate(b.predictions.ids)
        if identity in places
    ]
    if not pairs:
        return Comparison(a, b, 0, None, {})
    rows_a, rows_b = np.array(pairs).T
    shares = a.predictions.candidate[rows_a], b.predictions.candidate[rows_b]
    said = shares[0].argmax(axis=1), shares[1].argmax(axis=1)
    truth = b.predictions.labels[rows_b]
    found: dict[str, list[Disagreement]] = {"b": [], "a": [], "neither": []}
    # The most certain of the two first: where it matters most.
    certainty = np.maximum(shares[0].max(axis=1), shares[1].max(axis=1))
    for place in np.argsort(-certainty, kind="stable"):
        labels = int(said[0][place]), int(said[1][place])
        if labels[0] != labels[1]:
            right = {labels[1]: "b", labels[0]: "a"}.get(int(truth[place]), "neither")
            found[right].append(
                Disagreement(
                    b.predictions.ids[rows_b[place]],
                    int(truth[place]),
                    labels,
                    (shares[0][place], shares[1][place]),
                )
            )
    return Comparison(
        a,
        b,
        common=len(pairs),
        by_image=measures.compare(said[1] == truth, said[0] == truth),
        disagreements={who: tuple(some) for who, some in found.items()},
    )


def metrics(side: Side) -> dict[str, float]:
    """The numbers that two runs are compared by; of all but the first, less is better."""
    return {
        "accuracy": side.facts.accuracy.value,
        "top 2 accuracy": side.facts.verdict.metrics["top_2_accuracy"],
        "cross-entropy": side.facts.verdict.metrics["cross_entropy"],
        "expected calibration error": side.facts.calibration.expected_error,
    }


def render(
    found: Comparison, difference: Mapping[str, tuple[str, str]] | None, picture_size: int
) -> str:
    """The page, which loads nothing from anywhere.

    Args:
      difference: keys of the configuration with another value, and both values; None where
        they are not known.
      picture_size: longest side in pixels, where pictures are larger.
    """
    shown = {who: some[:SHOWN] for who, some in found.disagreements.items()}
    ids = [one.id for some in shown.values() for one in some]
    sources = read_pictures(found.b.examples, ids, picture_size) if ids else {}
    names = found.b.facts.label_names
    return templates().get_template("comparison.html").render(
        found=found,
        a=found.a,
        b=found.b,
        metrics=[
            (name, before, metrics(found.b)[name]) for name, before in metrics(found.a).items()
        ],
        difference=difference,
        classes=class_changes(found),
        galleries=[
            (title, len(found.disagreements.get(who, ())), [
                _picture(one, names, sources) for one in shown.get(who, ())
            ])
            for who, title in (
                ("b", f"Run {found.b.number} is right, run {found.a.number} is not"),
                ("a", f"Run {found.a.number} is right, run {found.b.number} is not"),
                ("neither", "Neither is right"),
            )
        ],
    )  # fmt: skip


def class_changes(
    found: Comparison,
) -> list[tuple[str, measures.ClassScores | None, measures.ClassScores | None]]:
    """Scores of each class in both runs; None where a run does not know the class."""
    before = {scores.name: scores for scores in found.a.facts.classes}
    after = {scores.name: scores for scores in found.b.facts.classes}
    return [(name, before.get(name), after.get(name)) for name in {**before, **after}]


def _picture(one: Disagreement, names: tuple[str, ...], sources: Mapping[str, str]) -> dict:
    ranked: list[list[tuple[str, float, bool]]] = []
    for shares in one.probabilities:
        best = np.argsort(-shares, kind="stable")[:_CLASSES_SHOWN]
        ranked.append([(names[i], float(shares[i]), int(i) == one.truth) for i in best])
    picture: dict[str, Any] = {
        "id": one.id,
        "source": sources[one.id],
        "truth": names[one.truth],
        "said": [names[label] for label in one.said],
        "ranked": ranked,
    }
    return picture
