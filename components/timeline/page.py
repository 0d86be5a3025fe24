"""The timeline as one HTML page that loads nothing from anywhere."""

from collections.abc import Sequence
from typing import Final

import vl_convert

from inception_finetune.components.timeline.charts import charts
from inception_finetune.components.timeline.days import Day, RunMade
from inception_finetune.components.web_page.environment import templates

DRAWN: Final = 400  # days in the charts
ROWS: Final = 100  # days in the table
_EXPORTS: Final = "window.vegaEmbed = vegaEmbed;"  # what the page's own script needs of Vega's


def render(name: str, days: Sequence[Day], runs: Sequence[RunMade], tested_on: str) -> str:
    """Renders the page.

    Args:
      name: the pipeline's.
      days: at least one, by their spans, the oldest first.
      runs: of the pipeline, the oldest first.
      tested_on: what accuracy is measured on, in words.

    Returns:
      The page's content.
    """
    return templates(__package__).get_template("timeline.html").render(
        name=name,
        days=list(reversed(days[-ROWS:])),
        more=max(0, len(days) - ROWS),
        count=len(days),
        looks=sum(day.look > 0 for day in days),
        alarms=sum(bool(day.alarms) for day in days),
        decided=sum(day.runs for day in days),
        pushed=len({run.version for run in runs if run.version}),
        drawn=DRAWN,
        tested_on=tested_on,
        charts=charts(days[-DRAWN:], runs),
        script=vl_convert.javascript_bundle(_EXPORTS),
    )  # fmt: skip
