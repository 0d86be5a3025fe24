"""What `review A B` does: two runs side by side, in tables and on a page."""

from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.errors import UserError
from components.model_report.comparison import (
    Comparison,
    Side,
    class_changes,
    compare,
    metrics,
    render,
)
from components.model_report.facts import Facts
from components.model_report.settings import FACTS
from components.test_predictions.store import read_predictions
from pipeline.config import Config
from pipeline.review import config_difference
from pipeline.runs import Run

FOLDER: Final = "reviews"  # below the pipeline's root


def compare_runs(config: Config, a: Run, b: Run, console: Console) -> Path:
    """Prints the tables, and writes the page below the root; returns where it lies.

    Raises:
      UserError: a run did not come to its report, or the page cannot be written.
    """
    found = compare(_side(a), _side(b))
    difference = config_difference(a.config, b.config)
    _print(found, difference, console)
    page = Path(config.root) / FOLDER / f"runs-{a.number}-{b.number}.html"
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        part = page.with_suffix(".part")
        part.write_text(render(found, difference, config.report.picture_size), "utf-8")
        part.replace(page)
    except OSError as error:
        raise UserError(f"cannot write the comparison to {page}: {error}") from error
    return page


def _side(run: Run) -> Side:
    facts = Path(run.uri("ModelReport", "model_report")) / FACTS
    return Side(
        run.number,
        Facts.model_validate_json(facts.read_text("utf-8")),
        read_predictions(run.uri("TestPredictions", "predictions")),
        run.uri("ImportExampleGen", "examples"),
    )


def _print(
    found: Comparison, difference: dict[str, tuple[str, str]] | None, console: Console
) -> None:
    numbers = f"run {found.a.number}", f"run {found.b.number}"
    table = _table("Metrics", "", *numbers, "change")
    for (name, before), after in zip(
        metrics(found.a).items(), metrics(found.b).values(), strict=True
    ):
        table.add_row(name, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}")
    sides = (found.a, found.b)
    table.add_row("gate", *("yes" if s.facts.verdict.blessed else "no" for s in sides), "")
    console.print(table)

    if difference is None:
        console.print("The configuration of one of the runs was not recorded.\n")
    elif not difference:
        console.print("No setting differs.\n")
    else:
        table = _table("Configuration", "setting", *numbers)
        for key, values in difference.items():
            table.add_row(key, *map(escape, values))
        console.print(table)

    table = _table("Classes", "", *(f"F1 {number}" for number in numbers), "change")
    for name, before, after in class_changes(found):
        scores = [None if one is None else one.f1 for one in (before, after)]
        change = "–" if None in scores else f"{scores[1] - scores[0]:+.4f}"
        table.add_row(escape(name), *("–" if s is None else f"{s:.4f}" for s in scores), change)
    console.print(table)

    if found.by_image is None:
        console.print("The runs were not asked about the same test images.", highlight=False)
        return
    counts = {who: len(some) for who, some in found.disagreements.items()}
    console.print(
        f"They disagree on {sum(counts.values()):,} of {found.common:,} test images: only "
        f"{numbers[0]} is right on {counts['a']:,}, only {numbers[1]} on {counts['b']:,}, neither "
        f"on {counts['neither']:,} (McNemar's p = {found.by_image.p_value:.2g}).",
        highlight=False,
    )


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for place, heading in enumerate(headings):
        numeric = place and title != "Configuration"
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    return table
