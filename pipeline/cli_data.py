"""``inception-finetune data``: fetch, look at and convert image archives."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from components.errors import UserError
from pipeline.cli_options import ConfigOption, Overrides, load

app = typer.Typer(help="Fetch, look at and convert image archives.", no_args_is_help=True)


@app.command()
def fetch(config: ConfigOption = "cifar10", overrides: Overrides = None):
    """Fetch the archive and verify it. Print where it lies."""
    settings = load(config, overrides)
    from pipeline import failure, inputs

    with failure.in_one_line():
        print(inputs.fetch_archive(settings))


@app.command()
def show(
    config: ConfigOption = "digits",
    overrides: Overrides = None,
    sample: Annotated[
        list[str] | None, typer.Option(help="BATCH:INDEX of an image to show; repeatable.")
    ] = None,
    picture: Annotated[Path, typer.Option(help="Where the picture grid goes.")] = Path(
        "build/samples.png"
    ),
):
    """Show what is in the archive: batches, labels, oddities, and a picture grid."""
    settings = load(config, overrides)
    from components.dataset import archive, grid, show
    from pipeline import failure, inputs

    with failure.in_one_line():
        loaded = archive.read_archive(inputs.fetch_archive(settings), settings.dataset.policy)
    samples = [_parse_sample(text) for text in sample or ()] or [(loaded.batches[0].name, 5)]
    described = show.describe_samples(loaded, samples)
    console = Console()
    show.print_summary(show.summarize(loaded), console)
    show.print_samples(described, console)
    grid.draw_grid(loaded, picture, samples=samples, seed=settings.dataset.seed)
    console.print(f"pictures: {picture}", highlight=False, soft_wrap=True)


@app.command()
def convert(
    directory: Annotated[Path, typer.Argument(help="Folder that the TFRecord shards go to.")],
    config: ConfigOption = "digits",
    overrides: Overrides = None,
):
    """Convert the archive, folder or list of pictures to TFRecord shards, and labels.txt."""
    settings = load(config, overrides)
    from pipeline import failure, inputs

    with failure.in_one_line():
        manifest = inputs.convert_dataset(settings, directory)
    counts = ", ".join(f"{count} {split}" for split, count in manifest.counts.items())
    print(f"{directory}: {counts}")


def _parse_sample(text: str) -> tuple[str, int]:
    batch, _, index = text.rpartition(":")
    if not batch or not index.isdecimal():
        raise UserError(
            f"--sample must read BATCH:INDEX, such as data_batch_1:5. Received: {text!r}"
        )
    return batch, int(index)
