"""Accuracy and cost by cut, as one chart by Altair: a column for each network."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt
import vl_convert

from inception_finetune.components.backbone_comparison.comparison import (
    Candidate,
    Comparison,
    advised,
)

# Okabe and Ito's hues, which colour-blind people tell apart: https://jfly.uni-koeln.de/color/
_HUES: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_FROZEN, _TRAINED, _STORED = "#b9c6d2", "#5b6b7a", "#8a8f98"
_STEP: Final = 46  # pixels a cut
_HEIGHT, _LOW_HEIGHT = 260, 90  # pixels
_SCALE: Final = 2  # pixels of the PNG for each of the chart's
_FROM: Final = "first trained block (trainable_from)"

Row = Mapping[str, Any]


def png(comparison: Comparison) -> bytes:
    """Draws the chart. Backbones of one network share a column, as their costs are the same.

    Returns:
      The content of a PNG.
    """
    groups: dict[str, list[Candidate]] = {}
    for candidate in comparison.candidates:
        groups.setdefault(candidate.network, []).append(candidate)
    labels = [candidate.label for candidate in comparison.candidates]
    accuracies = [cut.accuracy for one in comparison.candidates for cut in one.cuts]
    room = [min(one.low for one in accuracies), max(one.high for one in accuracies)]
    chart = alt.hconcat(*(_column(group, labels, room) for group in groups.values()), spacing=36)
    chart = chart.properties(
        title=alt.TitleParams(
            "Linear probes by cut, and what the cut costs",
            subtitle=[
                f"{comparison.train:,} train and {comparison.validation:,} validation images at "
                f"{comparison.image_size} pixels, {comparison.compute_dtype}; bars are 95 % "
                "intervals.",
                "The ring is the cut that the probes advise: the latest within the best one's "
                "interval.",
            ],
            anchor="start",
            fontSize=15,
            subtitleColor="#555",
            offset=14,
        )
    ).configure(background="white", font="sans-serif", padding=16)
    chart = chart.configure_view(stroke=None).configure_axis(gridColor="#e6e8eb", titleColor="#444")
    return bytes(vl_convert.vegalite_to_png(chart.to_dict(), scale=_SCALE))


def _column(group: Sequence[Candidate], labels: list[str], room: list[float]) -> alt.VConcatChart:
    cuts = [cut.trainable_from for cut in group[0].cuts]
    width = _STEP * len(cuts)
    accuracy = _accuracy(group, labels, room).properties(width=width, height=_HEIGHT)
    work = _work(group[0]).properties(width=width, height=_LOW_HEIGHT)
    stored = _stored(group[0]).properties(width=width, height=_LOW_HEIGHT)
    return alt.vconcat(accuracy, work, stored, spacing=12).resolve_scale(color="independent")


def _place(candidate: Candidate, *, labelled: bool) -> alt.X:
    cuts = [cut.trainable_from for cut in candidate.cuts]
    axis = alt.Axis(
        title=_FROM if labelled else None, labels=labelled, ticks=labelled, labelAngle=-40
    )
    return alt.X("cut:N", sort=cuts, axis=axis)


def _accuracy(group: Sequence[Candidate], labels: list[str], room: list[float]):
    rows = [
        {
            "cut": cut.trainable_from,
            "backbone": one.label,
            "accuracy": cut.accuracy.value,
            "low": cut.accuracy.low,
            "high": cut.accuracy.high,
            "advised": cut is advised(one),
        }
        for one in group
        for cut in one.cuts
    ]
    hues = [_HUES[labels.index(one.label) % len(_HUES)] for one in group]
    colour = alt.Color(
        "backbone:N",
        scale=alt.Scale(domain=[one.label for one in group], range=hues),
        legend=alt.Legend(orient="top", title=None, labelLimit=400, columns=1),
    )
    base = alt.Chart(alt.Data(values=rows)).encode(x=_place(group[0], labelled=False), color=colour)
    scale = alt.Scale(domain=room, zero=False, nice=True)
    height = alt.Y("accuracy:Q", scale=scale, title="accuracy of the probe")
    ring = base.transform_filter("datum.advised").encode(y=height)
    return alt.layer(
        base.mark_rule(strokeWidth=1.5, opacity=0.5).encode(y="low:Q", y2="high:Q"),
        base.mark_line(strokeWidth=1.5).encode(y=height),
        base.mark_circle(size=45, opacity=1).encode(y=height),
        ring.mark_point(size=260, strokeWidth=2, opacity=1),
        ring.mark_text(dy=-22, fontWeight="bold").encode(text=alt.Text("accuracy:Q", format=".3f")),
    )


def _work(candidate: Candidate) -> alt.Chart:
    kinds = ["frozen: once an image", "trained: each step"]
    rows = [
        {"cut": cut.trainable_from, "part": part, "order": order, "work": work / 1e9}
        for cut in candidate.cuts
        for order, (part, work) in enumerate(
            zip(
                kinds,
                (cut.cost.frozen_multiplications, cut.cost.trained_multiplications),
                strict=True,
            )
        )
    ]
    colour = alt.Color(
        "part:N",
        scale=alt.Scale(domain=kinds, range=[_FROZEN, _TRAINED]),
        legend=alt.Legend(orient="top", title=None),
    )
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            x=_place(candidate, labelled=False),
            y=alt.Y("work:Q", title=["billions of", "multiplications"], axis=alt.Axis(tickCount=4)),
            color=colour,
            order="order:Q",
        )
    )


def _stored(candidate: Candidate):
    rows = [
        {"cut": cut.trainable_from, "kilobytes": cut.cost.feature_bytes / 1e3}
        for cut in candidate.cuts
    ]
    bars = alt.Chart(alt.Data(values=rows)).encode(
        x=_place(candidate, labelled=True),
        y=alt.Y("kilobytes:Q", title=["stored kB", "an image"], axis=alt.Axis(tickCount=4)),
    )
    text = alt.Text("kilobytes:Q", format=",.3~r")
    return alt.layer(
        bars.mark_bar(color=_STORED), bars.mark_text(dy=-6, fontSize=9).encode(text=text)
    )
