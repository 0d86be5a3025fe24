"""``inception-finetune check-data`` and ``review``: look at new images, and at what runs did."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli_options import ConfigOption, Verbose, load, load_tensorflow, split_overrides

CHANGED = 4  # check-data: new images differ from those of training

app = typer.Typer()


@app.command("check-data")
def check_data(
    new: Annotated[
        list[str],
        typer.Argument(
            metavar="NEW_TFRECORDS... [KEY=VALUE]...", help="Files or folders; overrides."
        ),
    ],
    config: ConfigOption = "digits",
    model: Annotated[
        Path | None, typer.Option(help="An exported model's folder; default: the newest pushed.")
    ] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Records without labels are all right.")
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
    from pipeline import check_data, check_data_report

    check = check_data.check_data(
        settings, [Path(place) for place in places], model=model, labelled=not unlabelled
    )
    console = Console(record=save is not None)
    check_data_report.print_check(check, console)
    if save:
        check_data_report.save(console, save)
    if check.changes:
        raise typer.Exit(CHANGED)
