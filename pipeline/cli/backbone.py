"""``inception-finetune backbone``: check, compare, make one of weights, or a stand-in."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from inception_finetune.components.backbone.networks import AUTO, NETWORKS
from inception_finetune.components.backbone.settings import STANDIN
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.cli.options import (
    ConfigOption,
    Overrides,
    Verbose,
    load,
    load_tensorflow,
    split_overrides,
)

app = typer.Typer(
    help="Check a pretrained module, compare some, make one of weights, or a stand-in.",
    no_args_is_help=True,
)
# A comparison looks at every cut, whichever of them the configuration is for.
_ANY_CUT = ("backbone.trainable_from=all", "feature_cache=false", "tuning.trainable_from=[]")


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
    from inception_finetune.pipeline.cli import backbone_report

    backbone_report.print_report(settings, Console())


@app.command()
def compare(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[HANDLE | NETWORK=HANDLE]... [KEY=VALUE]...",
            help="Backbones, by default the configured one; overrides.",
        ),
    ] = None,
    config: ConfigOption = "cifar10",
    sample: Annotated[
        int, typer.Option(min=50, help="Images of train, and of validation, at most.")
    ] = 3000,
    save: Annotated[
        Path | None,
        typer.Option(help="Folder for backbones.png, .csv and .json; default: ROOT/reviews."),
    ] = None,
    verbose: Verbose = False,
):
    """Choose a network and a cut: linear probes at every block, and what each cut costs."""
    handles, overrides = split_overrides(arguments or ())
    named = [one for one in overrides if one.partition("=")[0] in NETWORKS]
    overrides = [*(one for one in overrides if one not in named), *_ANY_CUT]
    chosen = [_backbone(one) for one in dict.fromkeys(arguments or ()) if one in handles + named]
    configs = [load(config, [*overrides, *backbone]) for backbone in chosen or [[]]]
    load_tensorflow(verbose)
    from inception_finetune.pipeline.backbone_compare import compare_backbones

    compare_backbones(configs, sample, save, Console())


def _backbone(argument: str) -> list[str]:
    """Overrides for HANDLE, whose network is recognised, or NETWORK=HANDLE."""
    network, equals, handle = argument.partition("=")
    if equals and network in NETWORKS:
        return [f"backbone.network={network}", f"backbone.handle={handle}"]
    recognised = [] if argument == STANDIN else [f"backbone.network={AUTO}"]
    return [*recognised, f"backbone.handle={argument}"]


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
    from inception_finetune.components.backbone.weights.importing import import_weights

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
            f"--value-range {text!r} is not a range. Give LOW..HIGH, such as 0..1, -1..1 or 0..255."
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
    from inception_finetune.components.backbone.standin import make_standin

    make_standin(directory, seed=seed, network=network, image_size=image_size, weights=weights)
    origin = f"weights from {weights}" if weights else "random weights, NOT pretrained"
    print(f"{directory}: {NETWORKS[network].title} stand-in, {origin}")
