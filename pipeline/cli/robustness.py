"""``inception-finetune robustness``: accuracy on corrupted test pictures."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from inception_finetune.pipeline.cli.options import (
    ConfigOption,
    Overrides,
    Verbose,
    load,
    load_tensorflow,
)

app = typer.Typer()


@app.command()
def robustness(
    config: ConfigOption = "digits",
    overrides: Overrides = None,
    model: Annotated[
        Path | None, typer.Option(help="A pushed model's folder; default: the newest pushed one.")
    ] = None,
    other: Annotated[
        Path | None,
        typer.Option(help="A model to compare it with; default: the version pushed before it."),
    ] = None,
    pictures: Annotated[
        int, typer.Option(min=2, help="Test pictures that are drawn; each is asked 46 times.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the drawing and the corruptions.")] = 0,
    save: Annotated[
        Path | None, typer.Option(help="Folder for page and figures; default: ROOT/robustness.")
    ] = None,
    verbose: Verbose = False,
):
    """Measure the pushed model on test pictures with noise, blur, weather and digital faults."""
    settings = load(config, overrides)
    load_tensorflow(verbose)
    from inception_finetune.components.errors import UserError
    from inception_finetune.pipeline.history.outcome import latest_pushed
    from inception_finetune.pipeline.robustness import measure_robustness, print_robustness

    directory = model or latest_pushed(settings)
    if directory is None:
        raise UserError(
            f"No pushed model below {settings.root}. "
            f"Run `inception-finetune run --config {config}` first, or give --model DIR."
        )
    done = measure_robustness(settings, directory, other, save, pictures, seed)
    print_robustness(done, Console())
