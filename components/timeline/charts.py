"""The page's charts as Vega-Lite specifications, by Altair. Colours of text are the page's."""

from collections.abc import Sequence
from typing import Any, Final

import altair as alt

from inception_finetune.components.timeline.days import Day, RunMade

_HEIGHT, _LOW_HEIGHT = 200, 110  # pixels
# As in the report of a run: they differ for colour-blind people, on light pages and dark ones.
_BLUE, _ORANGE, _GREY = "#2f87c8", "#d9731a", "#8a8f98"
_FLOOR: Final = 1e-12  # p-values below it are drawn there


def charts(days: Sequence[Day], runs: Sequence[RunMade]) -> dict[str, dict[str, Any]]:
    """Returns specifications by the place on the page that they belong to.

    Args:
      days: at least one, by their spans.
      runs: those whose newest span is not among the days are not drawn.
    """
    spans = [day.span for day in days]
    measured = [run for run in runs if run.accuracy is not None and run.newest in spans]
    found = {"pictures": pictures(days, spans)}
    if any(day.look for day in days):
        found["drift"] = drift(days, spans)
    if measured:
        found["accuracy"] = accuracy(measured, spans)
    return {name: chart.to_dict() for name, chart in found.items()}


def drift(days: Sequence[Day], spans: Sequence[str]) -> alt.LayerChart:
    """The smallest p-value of each look against its level, and the days of which a run came."""
    rows = [
        {
            "span": day.span,
            "p": max(day.smallest_p, _FLOOR),
            "smallest p": f"{day.smallest_p:.2g}",
            "test": day.test,
            "level": max(day.level, _FLOOR),
            "look": day.look,
            "model": day.model,
            "found": "alarm" if day.alarms else "no alarm",
        }
        for day in days
        if day.look
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(x=_place(spans))
    scale = alt.Scale(type="log", domain=[_FLOOR, 1], nice=False)
    axis = alt.Axis(values=[1, 1e-3, 1e-6, 1e-9, 1e-12], format=".0e")
    level = base.mark_tick(color=_GREY, thickness=2).encode(y=alt.Y("level:Q", scale=scale))
    points = base.mark_circle(size=70, opacity=1).encode(
        y=alt.Y("p:Q", scale=scale, axis=axis, title="smallest p"),
        color=_colour("found", ["no alarm", "alarm"]),
        tooltip=["span:N", "smallest p:N", "test:N", _exponent("level"), "look:Q", "model:N"],
    )
    return _sized(alt.layer(_triggers(days, spans), level, points), _HEIGHT)


def accuracy(runs: Sequence[RunMade], spans: Sequence[str]) -> alt.LayerChart:
    """Accuracy on the test pictures of each run, at the newest of its spans, one of these."""
    rows = [
        {
            "span": run.newest,
            "accuracy": run.accuracy,
            "run": run.number,
            "version": run.version or "none",
            "model": "pushed" if run.version else "not pushed",
        }
        for run in runs
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=_place(spans), y=alt.Y("accuracy:Q", scale=alt.Scale(zero=False, nice=True))
    )
    points = base.mark_circle(size=90, opacity=1).encode(
        color=_colour("model", ["pushed", "not pushed"]),
        tooltip=["span:N", "run:Q", alt.Tooltip("accuracy:Q", format=".4f"), "version:N"],
    )
    names = base.mark_text(dy=-12, color=_GREY).encode(text="run:N")
    pushed = base.transform_filter("datum.model == 'pushed'").mark_line(color=_BLUE, opacity=0.6)
    return _sized(alt.layer(pushed, points, names), _HEIGHT)


def pictures(days: Sequence[Day], spans: Sequence[str]) -> alt.LayerChart:
    """How many pictures each span has."""
    rows = [{"span": day.span, "pictures": day.pictures} for day in days]
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(color=_BLUE)
        .encode(
            x=_place(spans),
            y=alt.Y("pictures:Q", axis=alt.Axis(tickCount=3)),
            tooltip=["span:N", "pictures:Q"],
        )
    )
    return _sized(alt.layer(bars), _LOW_HEIGHT)


def _triggers(days: Sequence[Day], spans: Sequence[str]) -> alt.Chart:
    rows = [
        {"span": day.span, "run because of": day.reason, "and then": day.verdict or "not ended"}
        for day in days
        if day.runs
    ]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_rule(color=_ORANGE, strokeWidth=2, opacity=0.45)
        .encode(x=_place(spans), tooltip=["span:N", "run because of:N", "and then:N"])
    )


def _place(spans: Sequence[str]) -> alt.X:
    """All charts have the same days below each other."""
    axis = alt.Axis(labelOverlap="greedy", labelAngle=-40, title=None, labelLimit=120)
    return alt.X("span:O", scale=alt.Scale(domain=list(spans)), axis=axis)


def _colour(field: str, values: list[str]) -> alt.Color:
    scale = alt.Scale(domain=values, range=[_BLUE, _ORANGE])
    return alt.Color(f"{field}:N", scale=scale, legend=alt.Legend(orient="top", title=None))


def _exponent(name: str) -> alt.Tooltip:
    return alt.Tooltip(f"{name}:Q", format=".1e")


def _sized(chart, height: int):
    return chart.properties(width="container", height=height)
