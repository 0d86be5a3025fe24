"""What `review` does: lists runs, and opens the report of one."""

import json
import os
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from inception_finetune.components.errors import UserError
from inception_finetune.components.model_report.settings import PAGE
from inception_finetune.components.shown_text import plain
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.forgotten_spans import read_forgotten
from inception_finetune.pipeline.history.rollback import read_rollbacks
from inception_finetune.pipeline.history.runs import Run, read_runs

LATEST: Final = "latest"
FOLDER: Final = "reviews"  # of pages, below the pipeline's root
_UNSET: Final = "not set"  # a key that one of two configurations does not have
_ELSEWHERE: Final = ("root", "cache")  # keys that say where things lie, not what is done


def choose_run(runs: Sequence[Run], text: str) -> Run:
    """The run of that number, or the latest.

    Raises:
      UserError: there is no such run.
    """
    if text == LATEST:
        return runs[-1]
    if not text.isdecimal() or not 1 <= int(text) <= len(runs):
        raise UserError(
            f"No run {text!r}: runs have the numbers 1 to {len(runs)}, and {LATEST} is the last. "
            "`inception-finetune review` lists them."
        )
    return runs[int(text) - 1]


def print_runs(config: Config, console: Console) -> None:
    """A table of all runs, oldest first, and one of what each changed in the configuration."""
    runs = read_runs(config)
    table = _table(f"{config.name}: runs")
    for heading in ("run", "when", "accuracy", "blessed", "pushed", "test use", "time"):
        right = heading in ("run", "accuracy", "test use", "time")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for run in runs:
        table.add_row(
            str(run.number),
            f"{run.started.astimezone():%Y-%m-%d %H:%M}",
            "–" if run.accuracy is None else f"{run.accuracy:.4f}",
            _blessed(run),
            run.pushed.name if run.pushed else "withdrawn" if run.withdrawn else "no",
            "–" if run.test_use is None else str(run.test_use),
            _time(run.seconds),
        )
    console.print(table)
    table = _table("New in its configuration")
    for heading in ("run", "setting", "before", "now"):
        table.add_column(heading, justify="right" if heading == "run" else "left", overflow="fold")
    for before, run in zip(runs, runs[1:], strict=False):
        for place, row in enumerate(_news(before, run)):
            table.add_row("" if place else str(run.number), *map(plain, row))
    if len(runs) > 1:
        console.print(table)
    _print_exports(runs, console)
    if any((run.test_use or 0) > 1 for run in runs):
        console.print(
            "[dim]test use: how many models were measured on the same test pictures by then. The "
            "more are tried, the more the best of them owes to chance.[/]",
            highlight=False,
        )
    for one in read_rollbacks(config):
        console.print(
            f"[dim]{one.when.astimezone():%Y-%m-%d %H:%M}: rolled back to version {one.restored}, "
            f"which serves as {one.version} since.[/]",
            highlight=False,
        )
    for span, since in read_forgotten(Path(config.root)).spans.items():
        state = f"forgotten since {since}" if since else "not wholly forgotten: `data forget` again"
        console.print(f"[dim]span {span}: {state}.[/]", highlight=False)
    console.print(
        "[dim]review RUN opens a run's report, review A B compares two.[/]", highlight=False
    )


def _print_exports(runs: Sequence[Run], console: Console) -> None:
    """A table of which exports were pushed, and why others were not; nothing where there are none.

    A run that found its exports made has them too.
    """
    table = _table("Exports")
    table.add_column("run", justify="right")
    for heading in ("export", "pushed"):
        table.add_column(heading, overflow="fold")
    for run in runs:
        exports = run.exports
        rows = exports.exports if exports else ()
        for place, row in enumerate(rows):
            passed = "yes" if run.pushed else "no: the model was not"
            why = f"no: refused, {'; '.join(row.refusals)}" if row.refusals else passed
            table.add_row("" if place else str(run.number), plain(row.name), plain(why))
    if table.row_count:
        console.print(table)


def report_page(run: Run) -> Path:
    """The page that ModelReport made.

    Raises:
      UserError: the run did not come to it, or it was removed.
    """
    page = Path(run.uri(Step.MODEL_REPORT, "model_report")) / PAGE
    if not page.is_file():
        raise UserError(f"Page {page} of run {run.number} is gone. Run again, or choose another.")
    return page


def open_page(page: Path, console: Console, *, in_browser: bool) -> None:
    """Prints where the page lies, and shows it where there is a display."""
    console.print(plain(str(page)), soft_wrap=True)
    if in_browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(page.absolute().as_uri())


def config_difference(a: Config | None, b: Config | None) -> dict[str, tuple[str, str]] | None:
    """Keys with another value, places left out; None where a configuration is not known."""
    if a is None or b is None:
        return None
    first, second = flatten(a.model_dump(mode="json")), flatten(b.model_dump(mode="json"))
    return {
        key: (_text(first, key), _text(second, key))
        for key in {**first, **second}
        if key not in _ELSEWHERE and first.get(key) != second.get(key)
    }


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as the command line writes them: ``training.epochs``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _text(flat: Mapping[str, Any], key: str) -> str:
    return json.dumps(flat[key]) if key in flat else _UNSET


def _news(before: Run, run: Run) -> list[tuple[str, str, str]]:
    difference = config_difference(before.config, run.config)
    if difference is None:
        return [("not recorded", "", "")]
    return [(key, *values) for key, values in difference.items()] or [("nothing", "", "")]


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)


def _blessed(run: Run) -> str:
    if run.blessed is not None:
        return "[green]yes[/]" if run.blessed else "[red]no[/]"
    return f"[red]stopped at {run.stopped_at}[/]" if run.stopped_at else "–"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
