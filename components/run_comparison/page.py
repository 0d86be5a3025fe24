"""The comparison as one HTML page that loads nothing from anywhere."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from inception_finetune.components.model_report.settings import Report
from inception_finetune.components.run_comparison.comparison import (
    SCORES,
    Comparison,
    Disagreement,
    compare_classes,
    compare_metrics,
)
from inception_finetune.components.web_page.data_address import data_address, is_lossless
from inception_finetune.components.web_page.environment import templates

SHOWN: Final = 36  # images of each kind of disagreement
_DECIMALS: Final = 6  # of the scores in the page's data
_LIKELIEST: Final = 3  # classes below an image, of each run


def render(
    name: str,
    found: Comparison,
    difference: Mapping[str, tuple[str, str]] | None,
    report: Report,
) -> str:
    """The page as one HTML file that loads nothing from anywhere.

    Args:
      name: the pipeline's.
      found: the comparison that is shown.
      difference: keys of the configuration with another value, and both values; None where
        they are not known.
      report: how large pictures are.
    """
    a, b = found.a.number, found.b.number
    return templates(__package__).get_template("comparison.html").render(
        name=name,
        found=found,
        metrics=compare_metrics(found),
        difference=difference,
        scores=SCORES,
        classes=[
            [label, *((_rounded(pair.before), _rounded(pair.after)) for pair in pairs.values())]
            for label, pairs in compare_classes(found).items()
        ],
        galleries=[
            (title, len(some), [_picture(found, one, report.picture_size) for one in some[:SHOWN]])
            for title, some in (
                (f"Run {b} is right, run {a} is not", found.only_b),
                (f"Run {a} is right, run {b} is not", found.only_a),
                ("Neither is right", found.neither),
            )
        ],
    )  # fmt: skip


def _picture(found: Comparison, one: Disagreement, size: int) -> dict[str, Any]:
    source = data_address(found.b.pictures[one.id], size)
    return {
        "id": one.id,
        "source": source,
        "small": is_lossless(source),
        "truth": one.truth,
        "answers": [
            {
                "number": side.number,
                "predicted": label,
                "right": label == one.truth,
                "likeliest": _likeliest(side.label_names, shares, one.truth),
            }
            for side, label, shares in zip(
                (found.a, found.b), one.predicted, one.probabilities, strict=True
            )
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)


def _likeliest(names: Sequence[str], shares: Any, truth: str) -> list[tuple[str, float, bool]]:
    best = np.argsort(-shares, kind="stable")[:_LIKELIEST]
    return [(names[label], float(shares[label]), names[label] == truth) for label in best]
