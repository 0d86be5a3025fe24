"""The page's charts as Vega-Lite specifications, by Altair. Colours of text are the page's."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from inception_finetune.components.evaluation.measures import Calibration
from inception_finetune.components.model_report.facts import Data, Facts
from inception_finetune.components.model_report.settings import MATRIX_CLASSES

_HEIGHT = 240  # pixels
# Two hues that keep a contrast of 3:1 to a white and to a dark page, and differ for colour-blind
# people: Okabe and Ito, https://jfly.uni-koeln.de/color/, blue made a little lighter.
_BLUE, _ORANGE, _GREY = "#2f87c8", "#d9731a", "#8a8f98"
_CONFIDENCE_BINS = 20
_RANKS = 200  # points of a line over all classes


def charts(facts: Facts, confidences: npt.NDArray, hits: npt.NDArray) -> dict[str, dict[str, Any]]:
    """Specifications by the place on the page that they belong to."""
    found = {
        "calibration": calibration(facts.calibration),
        "confidence": confidence(confidences, hits),
        "labels": labels(facts.data, facts.label_names),
    }
    if facts.curves:
        found["loss"] = curve(facts.curves, "loss", "val_loss", "cross-entropy")
        found["accuracy"] = curve(facts.curves, "accuracy", "val_accuracy", "accuracy")
    return {name: chart.to_dict() for name, chart in found.items()}


def calibration(found: Calibration) -> alt.LayerChart:
    """Accuracy over confidence, a point for each bin, beside the diagonal."""
    rows = [
        {
            "confidence": one.confidence,
            "accuracy": one.accuracy,
            "images": one.images,
            "bin": f"{one.low:.2f} to {one.high:.2f}",
        }
        for one in found.bins
        if one.images
    ]
    share = alt.Scale(domain=[0, 1])
    diagonal = (
        alt.Chart(alt.Data(values=[{"at": 0}, {"at": 1}]))
        .mark_line(strokeDash=[4, 4], color=_GREY)
        .encode(x="at:Q", y="at:Q")
    )
    line = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("confidence:Q", scale=share, title="confidence"),
        y=alt.Y("accuracy:Q", scale=share, title="accuracy"),
    )
    points = line.mark_circle(color=_BLUE, opacity=1).encode(
        size=alt.Size("images:Q", scale=alt.Scale(range=[30, 300]), legend=None),
        tooltip=["bin:N", "images:Q", *_shares("confidence", "accuracy")],
    )
    return _sized(alt.layer(diagonal, line.mark_line(color=_BLUE), points))


def confidence(confidences: npt.NDArray, hits: npt.NDArray) -> alt.Chart:
    """How many images were answered with which confidence, rightly and wrongly."""
    edges = np.linspace(0, 1, _CONFIDENCE_BINS + 1)
    rows = []
    for answer, chosen in (("right", hits), ("wrong", ~hits)):
        counts, _ = np.histogram(confidences[chosen], edges)
        for low, high, count in zip(edges, edges[1:], counts.tolist(), strict=False):
            rows.append({"low": low, "high": high, "images": count, "answer": answer})
    return _sized(
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            x=alt.X("low:Q", bin="binned", title="confidence"),
            x2="high:Q",
            y=alt.Y("images:Q", title="test images"),
            color=_colour("answer", ["right", "wrong"]),
            tooltip=["answer:N", "images:Q", *_shares("low", "high")],
        )
    )


def labels(data: Data, names: Sequence[str]) -> alt.Chart:
    """Share of each class in each split, so that splits of different size compare.

    Of many classes: how the shares fall from a split's most frequent class to its rarest.
    """
    if len(names) > MATRIX_CLASSES:
        return _falling_shares(data)
    rows = [
        {"label": name, "split": split, "share": count / found.images, "images": count}
        for split, found in data.splits.items()
        for name, count in zip(names, found.class_counts, strict=True)
    ]
    return _sized(
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            x=alt.X("label:N", sort=list(names), title=None),
            xOffset=alt.XOffset("split:N", sort=list(data.splits)),
            y=alt.Y("share:Q", axis=alt.Axis(format="%"), title="share of the split"),
            color=_colour("split", list(data.splits)),
            tooltip=["label:N", "split:N", "images:Q", *_shares("share")],
        )
    )


def _falling_shares(data: Data) -> alt.Chart:
    rows = []
    for split, found in data.splits.items():
        falling = np.sort(found.class_counts)[::-1]
        for rank in np.unique(np.linspace(0, len(falling) - 1, _RANKS).round().astype(int)):
            images = int(falling[rank])
            share = images / found.images
            rows.append({"rank": int(rank) + 1, "split": split, "share": share, "images": images})
    return _sized(
        alt.Chart(alt.Data(values=rows))
        .mark_line()
        .encode(
            x=alt.X("rank:Q", title="class, by its share"),
            y=alt.Y("share:Q", axis=alt.Axis(format=".2~%"), title="share of the split"),
            color=_colour("split", list(data.splits)),
            tooltip=["rank:Q", "split:N", "images:Q", *_shares("share")],
        )
    )


def curve(
    rows: Sequence[dict[str, float]], train: str, validation: str, title: str
) -> alt.LayerChart:
    """One measure over the epochs, in training and on the validation split."""
    values = [
        {"epoch": row["epoch"], "split": split, title: row[column]}
        for row in rows
        for split, column in (("train", train), ("validation", validation))
    ]
    line = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d"), title="epoch"),
        y=alt.Y(f"{title}:Q", scale=alt.Scale(zero=False), title=title),
        color=_colour("split", ["train", "validation"]),
        tooltip=["split:N", "epoch:Q", alt.Tooltip(f"{title}:Q", format=".4f")],
    )
    return _sized(alt.layer(line.mark_line(), line.mark_circle(size=50, opacity=1)))


def _colour(field: str, values: list[str]) -> alt.Color:
    scale = alt.Scale(domain=values, range=[_BLUE, _ORANGE, _GREY][: len(values)])
    return alt.Color(f"{field}:N", scale=scale, legend=alt.Legend(orient="top", title=None))


def _shares(*names: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:Q", format=".3f") for name in names]


def _sized(chart):
    return chart.properties(width="container", height=_HEIGHT)
