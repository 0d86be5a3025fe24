"""``inception-finetune init``: from pictures to a configuration."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from inception_finetune.pipeline.cli.options import Verbose, load_tensorflow

app = typer.Typer()


@app.command("init")
def init(
    pictures: Annotated[
        str,
        typer.Argument(help="A folder, an archive, a list or a URL: what dataset.archive may be."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The YAML file; default: NAME.yaml.")
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(help="Of a table: the column of the pictures; default: found.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Of a table: the column of the classes; default: found.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    verbose: Verbose = False,
):
    """Look at pictures, and write a configuration that suits them."""
    load_tensorflow(verbose)
    from inception_finetune.pipeline import init as starting

    console = Console()
    target = output or Path(f"{starting.config_name(pictures)}.yaml")
    if not force:
        starting.require_free(target)
    config = starting.first_config(pictures, image_column, label_column)
    found = starting.look(config)
    starting.print_found(found, console)
    config = starting.write_config(config.dataset, found, target)
    starting.print_next(config, target, starting.estimate(config, found), console)
