"""``inception-finetune backbone``: check a module, make one of weights, or a stand-in."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from components.backbone.networks import AUTO, NETWORKS
from components.errors import UserError
from pipeline.cli_options import ConfigOption, Overrides, Verbose, load, load_tensorflow

app = typer.Typer(
    help="Check a pretrained module, make one of weights, or a stand-in.", no_args_is_help=True
)


@app.command()
def check(
    handle: Annotated[str, typer.Argument(help="A TF-Hub URL, a folder, an archive or weights.")],
    config: ConfigOption = "cifar10",
    overrides: Overrides = None,
    verbose: Verbose = False,
):
    """Load a module, compare the Keras network with it, and list every variable."""
    settings = load(config, [*(overrides or ()), f"backbone.handle={handle}"])
    load_tensorflow(verbose)
    from pipeline import backbone_report, failure

    with failure.in_one_line():
        backbone_report.print_report(settings, Console())


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="Weights; docs/backbones.md lists the kinds.")],
    directory: Annotated[Path, typer.Argument(help="Folder to write the module to.")],
    network: Annotated[str, typer.Option(help=f"{AUTO}, or one of {', '.join(NETWORKS)}.")] = AUTO,
    value_range: Annotated[
        str | None,
        typer.Option(metavar="LOW..HIGH", help="Of the pixels that they were trained on."),
    ] = None,
    verbose: Verbose = False,
):
    """Write a module in TF-Hub's format from weights, and check it against them."""
    pixels = None if value_range is None else _parse_range(value_range)
    load_tensorflow(verbose)
    from components.backbone.weights.importing import import_weights
    from pipeline import failure

    with failure.in_one_line():
        weights = import_weights(source, directory, network=network, value_range=pixels)
    assert weights.value_range is not None
    low, high = weights.value_range
    checked = "its answers checked" if weights.answer else "which cannot answer by itself"
    print(
        f"{directory}: {weights.backbone.title}, pixels in [{low:g}, {high:g}] before, "
        f"from {source}, {checked}"
    )


def _parse_range(text: str) -> tuple[float, float]:
    low, _, high = text.partition("..")
    try:
        return float(low), float(high)
    except ValueError:
        raise UserError(
            f"--value-range is LOW..HIGH, such as 0..1, -1..1 or 0..255. Received: {text!r}"
        ) from None


@app.command("make-standin")
def make_standin(
    directory: Annotated[Path, typer.Argument(help="Folder to write the module to.")],
    network: Annotated[str, typer.Option(help=f"One of {', '.join(NETWORKS)}.")] = "inception_v3",
    weights: Annotated[
        Path | None,
        typer.Option(help="An .npz in TF-Slim's or Keras' variable names to fill it from."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Pixels a side to calibrate random weights for.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random weights.")] = 0,
    verbose: Verbose = False,
):
    """Write a network in TF-Hub's format. NOT pretrained, unless --weights are."""
    load_tensorflow(verbose)
    from components.backbone.standin import make_standin

    make_standin(directory, seed=seed, network=network, image_size=image_size, weights=weights)
    origin = f"weights from {weights}" if weights else "random weights, NOT pretrained"
    print(f"{directory}: {NETWORKS[network].title} stand-in, {origin}")
