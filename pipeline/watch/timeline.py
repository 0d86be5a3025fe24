"""The timeline of a watched pipeline: in the list of runs, and as a page."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.whole_file import whole_file
from inception_finetune.components.shown_text import plain
from inception_finetune.components.timeline.days import Day, RunMade
from inception_finetune.components.timeline.page import render
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.review import FOLDER
from inception_finetune.pipeline.history.runs import newest_runs
from inception_finetune.pipeline.spans import span_number
from inception_finetune.pipeline.watch.lines import RUN, Line, read_lines

_SHOWN: Final = 14  # days in the terminal


def write_timeline(config: Config) -> Path:
    """Writes the page below the root; returns where it lies.

    Raises:
      UserError: no span was looked at yet, or the page cannot be written.
    """
    days = read_days(config)
    if not days:
        raise UserError(
            f"Pipeline {config.name} in {config.root} has no timeline: no span was looked at. "
            "Run `inception-finetune watch --once` with the same --config first."
        )
    runs = [
        RunMade(
            number=run.number,
            newest=max(run.spans, key=span_number),
            accuracy=run.accuracy,
            version=run.pushed_as.name if run.pushed_as else "",
        )
        for run in newest_runs(config)
        if run.spans
    ]
    dataset = config.dataset
    parts = ["the golden set"] if dataset.golden else []
    parts += ["the newest span"] if dataset.newest_as_test else []
    target = Path(config.root) / FOLDER / "timeline.html"
    with whole_file(target) as temporary:
        page = render(config.name, days, runs[::-1], " and ".join(parts) or "the test pictures")
        temporary.write_text(page, "utf-8")
    return target


def read_days(config: Config) -> list[Day]:
    """Returns what was looked at, by the spans."""
    return [_day(line) for line in sorted(read_lines(config), key=lambda line: line.number)]


def print_days(days: Sequence[Day], console: Console) -> None:
    """Prints the last days as a table."""
    table = Table(
        title="Spans, looks and decisions",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    for heading in ("span", "look", "smallest p", "level"):
        right = heading != "span"
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    table.add_column("decision", overflow="fold")
    table.add_column("came of it", overflow="fold")
    for day in days[-_SHOWN:]:
        p = f"{day.smallest_p:.2g}" if day.look else "–"
        table.add_row(
            plain(day.span),
            str(day.look or "–"),
            f"[bold red]{p}[/]" if day.alarms else p,
            f"{day.level:.1e}" if day.look else "–",
            plain(f"run: {day.reason}" if day.runs else day.reason),
            plain(_came_of_it(day)),
        )
    console.print(table)
    more = len(days) - _SHOWN
    older = f"{more:,} older spans are on the page. " if more > 0 else ""
    console.print(f"[dim]{older}review timeline opens it as a page.[/]", highlight=False)


def _came_of_it(day: Day) -> str:
    if not day.runs:
        return ""
    run = f"run {day.run} " if day.run else ""
    return f"{run}{day.verdict or 'not ended'}{f': {day.why}' if day.why else ''}"


def _day(line: Line) -> Day:
    same = {field.name for field in fields(Day)} & {field.name for field in fields(Line)}
    values = {name: getattr(line, name) for name in same - {"accuracy"}}
    return Day(
        **values,
        runs=line.decision == RUN,
        accuracy=line.accuracy if line.accuracy >= 0 else None,
    )
