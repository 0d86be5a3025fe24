"""``inception-finetune backbone``: check a pretrained module, or make a stand-in."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from components.backbone.networks import NETWORKS
from pipeline.cli_options import ConfigOption, Overrides, Verbose, load, load_tensorflow

app = typer.Typer(help="Check a pretrained module, or make a stand-in.", no_args_is_help=True)


@app.command()
def check(
    handle: Annotated[str, typer.Argument(help="A TF-Hub URL, a folder or a .tar.gz.")],
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
