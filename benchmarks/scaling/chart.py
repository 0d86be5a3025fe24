"""docs/scaling.svg: what was measured with its fit, and what follows for more workers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import altair as alt
import vl_convert

_WIDTH, _HEIGHT = 360, 260  # pixels
_COMMAND = "seconds of the whole command"
_PREDICTED = "predicted for 299 pixels, 5 epochs; dashed: GPU"
# Okabe and Ito's hues, which colour-blind people tell apart: https://jfly.uni-koeln.de/color/
_HUES = ("#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#cc79a7")
_LEGEND = alt.Legend(orient="bottom", columns=1, title=None, labelLimit=240)

Row = Mapping[str, float | str]


def write(
    path: Path, measured: Sequence[Row], fitted: Sequence[Row], predicted: Sequence[Row]
) -> None:
    """Draws both charts side by side.

    Args:
      path: of the SVG or PNG.
      measured: ``engine``, ``images``, ``seconds`` of each run.
      fitted: the same of points on each engine's line.
      predicted: ``images`` in words, ``workers``, ``hours``, ``machine``.
    """
    engines = alt.Color("engine:N", scale=alt.Scale(range=_HUES), legend=_LEGEND)
    log = alt.Scale(type="log")
    sizes = alt.Axis(values=sorted({float(row["images"]) for row in measured}), format=",")
    images = alt.X("images:Q", title="images", scale=alt.Scale(type="log", nice=False), axis=sizes)
    marks = alt.Axis(values=[30, 45, 60, 90, 120, 180, 240])
    from_half_a_minute = alt.Scale(type="log", nice=False, domainMin=30)
    seconds = alt.Y("seconds:Q", title=_COMMAND, scale=from_half_a_minute, axis=marks)
    points = alt.Chart(alt.Data(values=list(measured))).mark_circle(size=50)
    lines = alt.Chart(alt.Data(values=list(fitted))).mark_line(strokeWidth=1)
    left = alt.layer(
        points.encode(x=images, y=seconds, color=engines),
        lines.encode(x=images, y=seconds, color=engines),
    ).properties(title="measured, and fitted", width=_WIDTH, height=_HEIGHT)
    hues = alt.Scale(range=_HUES[::2])
    workers = alt.Axis(values=sorted({float(row["workers"]) for row in predicted}))
    decades = alt.Axis(values=[10.0**power for power in range(-2, 5)], format=",~g")
    right = (
        alt.Chart(alt.Data(values=list(predicted)))
        .mark_line(point=True, strokeWidth=1.5)
        .encode(
            x=alt.X("workers:Q", title="workers", scale=log, axis=workers),
            y=alt.Y("hours:Q", title="hours", scale=log, axis=decades),
            color=alt.Color("images:N", sort=None, scale=hues, legend=_LEGEND),
            strokeDash=alt.StrokeDash("machine:N", sort=None, legend=None),
        )
        .properties(
            title=_PREDICTED,
            width=_WIDTH,
            height=_HEIGHT,
        )
    )
    both = (
        alt.hconcat(left, right)
        .resolve_scale(color="independent")
        .configure(background="white", font="sans-serif")
    )
    path.write_text(vl_convert.vegalite_to_svg(both.to_dict()), "utf-8")
