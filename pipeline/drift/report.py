"""What `check-data` prints: tables, then the verdict in one line."""

from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inception_finetune.components.errors import UserError
from inception_finetune.components.shown_text import plain, visible
from inception_finetune.pipeline.drift.check_data import DataCheck

_NAMED = 3  # changes in the verdict's line
_CLASSES = 40  # rows of labels; of more classes, those that shifted most


def print_check(check: DataCheck, console: Console) -> None:
    """Tables of what was compared, and a line that says what changed."""
    if check.schema.anomalies:
        table = _table("Schema and labels")
        table.add_column("feature")
        table.add_column("what is wrong with it", overflow="fold")
        for name, text in check.schema.anomalies:
            table.add_row(plain(name), plain(text, style="red"))
        console.print(table)
    _print_labels(check, console)
    _print_pictures(check, console)
    _print_features(check, console)
    changes = check.changes
    if not changes:
        all_but = "" if check.features else "; features were not compared"
        console.print(
            f"[bold green]unchanged[/]: {check.count:,} new records are like those of training"
            f"{all_but}",
            highlight=False,
        )
        return
    more = len(changes) - _NAMED
    named = "; ".join(changes[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
    line = Text.assemble(("changed", "bold red"), ": ", visible(named))
    console.print(line, soft_wrap=True)


def save(console: Console, target: Path) -> None:
    """What `console` has recorded, as a page.

    Raises:
      UserError: it cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        console.save_html(str(target))
    except OSError as error:
        raise UserError(
            f"Cannot write the page to {target}: {error}. Give another file."
        ) from error
    console.print(plain(f"page: {target}"), soft_wrap=True)


def _print_labels(check: DataCheck, console: Console) -> None:
    labels = check.schema.labels
    if not labels.new.sum():
        return
    table = _table("Labels")
    table.add_column("label")
    table.add_column("train", justify="right")
    table.add_column("new", justify="right")
    table.add_column("shift of its share", justify="right")
    shifts = labels.new / labels.new.sum() - labels.reference / labels.reference.sum()
    largest = np.argsort(-np.abs(shifts), kind="stable")[:_CLASSES]
    for label in sorted(largest.tolist()):
        text = f"{shifts[label]:+.3f}"
        table.add_row(
            plain(f"{label} {check.label_names[label]}"),
            f"{labels.reference[label]:,}",
            f"{labels.new[label]:,}",
            f"[bold red]{text}[/]" if abs(shifts[label]) > labels.allowed else text,
        )
    console.print(table)
    more = len(shifts) - len(largest)
    rest = f" The {more:,} classes that are not shown have shifted less." if more else ""
    console.print(
        f"[dim]The share of a class may shift by {labels.allowed:.3f}.{rest}[/]\n",
        highlight=False,
    )


def _print_pictures(check: DataCheck, console: Console) -> None:
    table = _table("Pictures")
    table.add_column("")
    for heading in ("train", "new", "distance", "p"):
        table.add_column(heading, justify="right")
    for statistic in check.statistics:
        table.add_row(
            statistic.name,
            "{:.1f} ± {:.1f}".format(*statistic.train),
            "{:.1f} ± {:.1f}".format(*statistic.new),
            f"{statistic.distance.value:.3f}",
            _p(statistic.distance.p, check.level),
        )
    console.print(table)
    console.print(
        f"[dim]{check.sampled - check.unreadable:,} new pictures, {check.reference[0]:,} of train; "
        f"the distance is Kolmogorov and Smirnov's. A p below {check.level:.1g} counts.[/]\n",
        highlight=False,
    )
    if check.unreadable:
        console.print(f"[red]{check.unreadable:,} pictures cannot be read[/]\n", highlight=False)


def _print_features(check: DataCheck, console: Console) -> None:
    if check.features is None:
        line = Text.assemble(
            ("Features", "bold"), ": ", ("not compared", "red"), ": ", visible(check.not_compared)
        )
        console.print(line, end="\n\n", soft_wrap=True)
        return
    console.print(
        "[bold]Features[/]: how the model sees them, against its "
        f"{check.reference[1]:,} validation pictures: squared distance (MMD) "
        f"{check.features.value:.4f}, p {_p(check.features.p, check.level)}\n",
        highlight=False,
    )


def _p(p: float, level: float) -> str:
    text = f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"
    return f"[bold red]{text}[/]" if p < level else text


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
