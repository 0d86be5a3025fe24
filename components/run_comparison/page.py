"""The comparison as one HTML page that loads nothing from anywhere."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from components.run_comparison.comparison import (
    METRICS,
    SCORES,
    Comparison,
    Disagreement,
    measure,
    score_classes,
)

SHOWN: Final = 36  # images of each kind of disagreement
_SIDE: Final = 96  # pixels of a shown picture's longest side, where it is larger
_LIKELIEST: Final = 3  # classes below an image, of each run


def render(name: str, found: Comparison, difference: Mapping[str, tuple[str, str]] | None) -> str:
    """The page.

    Args:
      name: the pipeline's.
      difference: keys of the configuration with another value, and both values; None where
        they are not known.
    """
    before, after = measure(found.a), measure(found.b)
    classes = [score_classes(side) for side in (found.a, found.b)]
    missing = (math.nan,) * len(SCORES)
    a, b = found.a.number, found.b.number
    return _templates().get_template("comparison.html").render(
        name=name,
        found=found,
        metrics=[(metric, before[metric], after[metric]) for metric in METRICS],
        difference=difference,
        scores=SCORES,
        classes=[
            (label, list(zip(*(one.get(label, missing) for one in classes), strict=True)))
            for label in {**classes[0], **classes[1]}
        ],
        galleries=[
            (title, len(some), [_picture(found, one) for one in some[:SHOWN]])
            for title, some in (
                (f"Run {b} is right, run {a} is not", found.only_b),
                (f"Run {a} is right, run {b} is not", found.only_a),
                ("Neither is right", found.neither),
            )
        ],
    )  # fmt: skip


def _templates() -> Environment:
    """Everything that is put into HTML is escaped: label names and ids come from the data set."""
    environment = Environment(
        loader=PackageLoader("components.run_comparison"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["share"] = lambda value: "–" if math.isnan(value) else f"{value:.4f}"
    environment.filters["signed"] = lambda value: "–" if math.isnan(value) else f"{value:+.4f}"
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment


def _picture(found: Comparison, one: Disagreement) -> dict[str, Any]:
    return {
        "id": one.id,
        "source": _data_address(found.b.pictures[one.id]),
        "truth": found.b.label_names[one.truth],
        "answers": [
            {
                "number": side.number,
                "said": side.label_names[label],
                "right": label == one.truth,
                "likeliest": _likeliest(side.label_names, shares, one.truth),
            }
            for side, label, shares in zip(
                (found.a, found.b), one.said, one.probabilities, strict=True
            )
        ],
    }


def _likeliest(names: Sequence[str], shares: Any, truth: int) -> list[tuple[str, float, bool]]:
    best = np.argsort(-shares, kind="stable")[:_LIKELIEST]
    return [(names[label], float(shares[label]), int(label) == truth) for label in best]


def _data_address(encoded: bytes) -> str:
    with Image.open(io.BytesIO(encoded)) as picture:
        small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
