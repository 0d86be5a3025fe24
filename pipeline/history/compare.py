"""What `review A B` does: two runs side by side, in tables and on a page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from inception_finetune.components import features
from inception_finetune.components.drift.records import read_records, record_files
from inception_finetune.components.evaluation.label_names import read_label_names
from inception_finetune.components.io.whole_file import whole_file
from inception_finetune.components.run_comparison import page
from inception_finetune.components.run_comparison.comparison import (
    Comparison,
    Pair,
    Side,
    compare,
    compare_classes,
    compare_metrics,
)
from inception_finetune.components.shown_text import plain
from inception_finetune.components.steps import Step
from inception_finetune.components.test_predictions.store import read_predictions
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.review import FOLDER, config_difference
from inception_finetune.pipeline.history.runs import Run

_CLASSES: Final = 40  # rows in the terminal; of more classes, those that changed most
_SCORE: Final = "F1"  # the one that the terminal has room for


def compare_runs(config: Config, a: Run, b: Run, console: Console) -> Path:
    """Prints the tables, and writes the page below the root; returns where it lies.

    Raises:
      UserError: a run did not come to its test predictions, or the page cannot be written.
    """
    found = compare(_side(a), _side(b))
    difference = config_difference(a.config, b.config)
    _print(found, difference, console)
    target = Path(config.root) / FOLDER / f"runs-{a.number}-{b.number}.html"
    with whole_file(target) as temporary:
        temporary.write_text(page.render(config.name, found, difference, config.report), "utf-8")
    return target


def _side(run: Run) -> Side:
    return Side(
        run.number,
        bool(run.blessed),
        read_label_names(run.model_directory),
        read_predictions(run.uri(Step.TEST_PREDICTIONS, "predictions")),
        _test_pictures(Path(run.uri(Step.EXAMPLE_GEN, "examples"))),
    )


def _test_pictures(examples: Path) -> dict[str, bytes]:
    import tensorflow as tf

    pictures = {}
    for file in record_files([examples / f"Split-{features.TEST}"]):
        for record in read_records(file):
            feature = tf.train.Example.FromString(record).features.feature
            [identity] = feature[features.IMAGE_ID].bytes_list.value
            [encoded] = feature[features.IMAGE_ENCODED].bytes_list.value
            pictures[identity.decode()] = encoded
    return pictures


def _print(
    found: Comparison, difference: Mapping[str, tuple[str, str]] | None, console: Console
) -> None:
    sides = (found.a, found.b)
    numbers = [f"run {side.number}" for side in sides]
    table = _table("Metrics", "", *numbers, "change")
    for metric, pair in compare_metrics(found).items():
        table.add_row(metric, *_cells(pair))
    table.add_row("blessed", *("yes" if side.blessed else "no" for side in sides), "")
    console.print(table)
    if difference:
        table = _table("Configuration", "setting", *numbers)
        for key, values in difference.items():
            table.add_row(key, *map(plain, values))
        console.print(table)
    else:
        console.print(
            "No setting differs.\n"
            if difference is not None
            else "The configuration of one of the runs was not recorded.\n"
        )
    table = _table("Classes", "", *(f"{_SCORE} {number}" for number in numbers), "change")
    classes = compare_classes(found)
    shown = sorted(classes, key=lambda label: -abs(classes[label][_SCORE].change or 0))[:_CLASSES]
    for label in classes:
        if label in shown:
            table.add_row(plain(label), *_cells(classes[label][_SCORE]))
    console.print(table)
    if len(classes) > len(shown):
        console.print(f"{len(classes) - len(shown):,} classes that changed less are on the page.\n")
    if found.other_classes:
        console.print(plain(f"The classes differ: {numbers[1]} is {found.other_classes}."))
    if found.reclassed:
        console.print(
            f"{found.reclassed:,} common test images are of another class in {numbers[1]} than in "
            f"{numbers[0]}; they are left out.",
            highlight=False,
        )
    disagreements = len(found.only_a) + len(found.only_b) + len(found.neither)
    console.print(
        f"They disagree on {disagreements:,} of {found.common:,} common test images: only "
        f"{numbers[0]} is right on {len(found.only_a):,}, only {numbers[1]} on "
        f"{len(found.only_b):,}, neither on {len(found.neither):,} "
        f"(McNemar's p = {found.p_value:.2g}).",
        highlight=False,
    )


def _cells(pair: Pair) -> tuple[str, ...]:
    colour = "green" if pair.rises else "red" if pair.falls else "dim"
    before, after = (
        "–" if value is None else f"{value:.4f}" for value in (pair.before, pair.after)
    )
    return before, after, "–" if pair.change is None else f"[{colour}]{pair.change:+.4f}[/]"


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for place, heading in enumerate(headings):
        numeric = place > 0 and title != "Configuration"
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    return table
