"""``inception-finetune check-data`` and ``review``: look at new images, and at what runs did."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from components.errors import UserError
from pipeline.cli_options import ConfigOption, Verbose, load, load_tensorflow

CHANGED = 4  # check-data: new images differ from those of training

app = typer.Typer()

OVERRIDE_HELP = "KEY=VALUE overrides, such as root=DIRECTORY; repeatable."


@app.command("check-data")
def check_data(
    new: Annotated[
        list[Path], typer.Argument(metavar="NEW_TFRECORDS...", help="Files, or folders of them.")
    ],
    config: ConfigOption = "digits",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=OVERRIDE_HELP)
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="An exported model's folder; default: the latest run's.")
    ] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Records without labels are all right.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option(help="An HTML file that the tables go to as well.")
    ] = None,
    verbose: Verbose = False,
):
    """Compare new images with those of training. Exit status 0: nothing changed; 4: it did."""
    settings = load(config, overrides)
    load_tensorflow(verbose)
    from pipeline import check_data, check_data_report, outcome, runs

    directory = model or outcome.latest_pushed(settings) or outcome.latest_trained(settings)
    console = Console(record=save is not None)
    check = check_data.check_data(settings, new, model=directory, labelled=not unlabelled)
    check_data_report.print_check(check, names, console)
    if save:
        console.save_html(str(save))
    if check.changes:
        raise typer.Exit(CHANGED)
