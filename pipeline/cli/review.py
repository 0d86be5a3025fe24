"""``inception-finetune check-data`` and ``review``: look at new images, and at what runs did."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from inception_finetune.components.errors import ExitStatus, UserError
from inception_finetune.pipeline.cli.options import (
    ConfigOption,
    Verbose,
    load,
    load_tensorflow,
    split_overrides,
)

app = typer.Typer()


@app.command("check-data")
def check_data(
    new: Annotated[
        list[str],
        typer.Argument(
            metavar="NEW... [KEY=VALUE]...",
            help="TFRecord files, folders of them, or what dataset.archive may name, such as a "
            "URL; overrides.",
        ),
    ],
    config: ConfigOption = "digits",
    model: Annotated[
        Path | None, typer.Option(help="An exported model's folder; default: the newest pushed.")
    ] = None,
    unlabelled: Annotated[
        bool,
        typer.Option("--unlabelled", help="Without labels: any folder of pictures."),
    ] = False,
    save: Annotated[
        Path | None, typer.Option(help="An HTML file that the tables go to as well.")
    ] = None,
    verbose: Verbose = False,
):
    """Compare new images with those of training. Exit status 0: nothing changed; 4: something."""
    places, overrides = split_overrides(new)
    settings = load(config, overrides)
    load_tensorflow(verbose)
    from inception_finetune.pipeline.drift import check_data, report

    check = check_data.check_data(settings, places, model=model, labelled=not unlabelled)
    console = Console(record=save is not None)
    report.print_check(check, console)
    if save:
        report.save(console, save)
    if check.changes:
        raise typer.Exit(ExitStatus.CHANGED)


@app.command()
def review(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN | A B | timeline] [KEY=VALUE]...",
            help="Numbers in the list, or latest; or the days of `watch`; overrides.",
        ),
    ] = None,
    config: ConfigOption = "digits",
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Print where the page lies, open no browser.")
    ] = False,
    verbose: Verbose = False,
):
    """List the runs; open the report of RUN; compare the runs A and B; or open the timeline."""
    chosen, overrides = split_overrides(runs or [])
    settings = load(config, overrides)
    from inception_finetune.pipeline.history import review
    from inception_finetune.pipeline.history.runs import read_runs

    console = Console()
    if not chosen or chosen == ["timeline"]:
        from inception_finetune.pipeline.watch import timeline

        if chosen:
            page = timeline.write_timeline(settings)
            review.open_page(page, console, in_browser=not no_open)
            return
        review.print_runs(settings, console)
        if days := timeline.read_days(settings):
            timeline.print_days(days, console)
        return
    if len(chosen) > 2:
        raise UserError(
            f"{len(chosen)} runs are named: {' '.join(chosen)}. "
            "Name one to open its report, two to compare them, or none to list all."
        )
    known = read_runs(settings)
    picked = [review.choose_run(known, text) for text in chosen]
    if len(picked) == 1:
        page = review.report_page(picked[0])
    else:
        load_tensorflow(verbose)
        from inception_finetune.pipeline.history.compare import compare_runs

        first, second = picked
        page = compare_runs(settings, first, second, console)
    review.open_page(page, console, in_browser=not no_open)
