"""The command line: parses, calls one function, exits. Imports nothing heavy until needed."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from components.errors import UserError

FAILED = 1  # a UserError: one line on stderr
REFUSED = 3  # the run is complete, the gate did not bless the model

app = typer.Typer(
    help="Fine-tune InceptionV3 on your own pictures and put it into production.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data = typer.Typer(help="Fetch, look at and convert image archives.", no_args_is_help=True)
backbone = typer.Typer(help="Check a pretrained module, or make a stand-in.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(backbone, name="backbone")

ConfigOption = Annotated[
    str,
    typer.Option(
        "--config", "-c", help="A preset (digits, cifar10, article, scratch_cnn) or a YAML file."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as training.epochs=3."),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show the libraries' own messages as well.")
]


def main() -> None:
    """The entry point: every foreseeable failure is one line and a status other than 0."""
    try:
        app(prog_name="inception-finetune")
    except UserError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"[bold red]error:[/] {_escape(str(error))}"
        )
        sys.exit(FAILED)


@app.command()
def run(config: ConfigOption = "digits", overrides: Overrides = None, verbose: Verbose = False):
    """Run the whole pipeline: convert, validate, train, evaluate, push."""
    settings = _load(config, overrides)
    _heavy(verbose)
    from pipeline import local, outcome

    result = local.run(settings, verbose=verbose)
    outcome.print_outcome(result, settings, Console())
    if not result.blessed:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"[bold red]not blessed, not pushed:[/] {_escape('; '.join(result.refusals))}"
        )
        raise typer.Exit(REFUSED)


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG files of any size.")],
    config: ConfigOption = "digits",
    model: Annotated[
        Path | None, typer.Option(help="A pushed model's folder; default: the newest one.")
    ] = None,
    verbose: Verbose = False,
):
    """Classify pictures with the pushed model."""
    settings = _load(config, None)
    _heavy(verbose)
    from pipeline import outcome
    from pipeline import predict as prediction

    directory = model or outcome.latest_pushed(settings)
    if directory is None:
        raise UserError(
            f"predict needs a pushed model. None lies below {settings.root}; "
            f"run `inception-finetune run --config {config}` first or give --model DIR"
        )
    prediction.print_predictions(prediction.predict(directory, images), Console())


@app.command()
def tensorboard(
    config: ConfigOption = "digits",
    overrides: Overrides = None,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "localhost",
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 6006,
    verbose: Verbose = False,
):
    """Look at every training of this pipeline in TensorBoard."""
    settings = _load(config, overrides)
    _heavy(verbose)
    from pipeline.tensorboard import open_tensorboard

    open_tensorboard(settings, host=host, port=port)


@app.command("config")
def show_config(config: ConfigOption = "digits", overrides: Overrides = None):
    """Print the whole configuration that a run would use, as YAML."""
    import yaml

    print(yaml.safe_dump(_load(config, overrides).model_dump(), sort_keys=False), end="")


@data.command("fetch")
def data_fetch(config: ConfigOption = "cifar10", overrides: Overrides = None):
    """Fetch the archive and verify it. Print where it lies."""
    settings = _load(config, overrides)
    from pipeline import inputs

    print(inputs.fetch_archive(settings))


@data.command("show")
def data_show(
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
    settings = _load(config, overrides)
    from components.dataset import archive, grid, show
    from pipeline import inputs

    loaded = archive.read_archive(inputs.fetch_archive(settings))
    samples = [_parse_sample(text) for text in sample or ()] or [(loaded.batches[0].name, 5)]
    described = show.describe_samples(loaded, samples)
    console = Console()
    show.print_summary(show.summarize(loaded), console)
    show.print_samples(described, console)
    grid.draw_grid(loaded, picture, samples=samples, seed=settings.dataset.seed)
    console.print(f"pictures: {picture}", highlight=False, soft_wrap=True)


@data.command("convert")
def data_convert(
    directory: Annotated[Path, typer.Argument(help="Folder that the TFRecord shards go to.")],
    config: ConfigOption = "digits",
    overrides: Overrides = None,
):
    """Convert the archive to TFRecord shards with PNG images, and labels.txt."""
    settings = _load(config, overrides)
    from pipeline import inputs

    manifest = inputs.convert_dataset(settings, directory)
    counts = ", ".join(f"{count} {split}" for split, count in manifest.counts.items())
    print(f"{directory}: {counts}")


@backbone.command("check")
def backbone_check(
    handle: Annotated[str, typer.Argument(help="A TF-Hub URL, a folder or a .tar.gz.")],
    config: ConfigOption = "cifar10",
    overrides: Overrides = None,
    verbose: Verbose = False,
):
    """Load a module, compare the Keras network with it, and list every variable."""
    settings = _load(config, [*(overrides or ()), f"backbone.handle={handle}"])
    _heavy(verbose)
    from pipeline import backbone_report

    backbone_report.print_report(settings, Console())


@backbone.command("make-standin")
def backbone_make_standin(
    directory: Annotated[Path, typer.Argument(help="Folder to write the module to.")],
    weights: Annotated[
        Path | None, typer.Option(help="An .npz in Keras' variable names to fill it from.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random weights.")] = 0,
    verbose: Verbose = False,
):
    """Write an InceptionV3 in TF-Hub's format. NOT pretrained, unless --weights are."""
    _heavy(verbose)
    from components.backbone.standin import make_standin

    make_standin(directory, seed=seed, weights=weights)
    origin = f"weights from {weights}" if weights else "random weights, NOT pretrained"
    print(f"{directory}: InceptionV3 stand-in, {origin}")


def _parse_sample(text: str) -> tuple[str, int]:
    batch, _, index = text.rpartition(":")
    if not batch or not index.isdecimal():
        raise UserError(
            f"--sample must read BATCH:INDEX, such as data_batch_1:5. Received: {text!r}"
        )
    return batch, int(index)


def _load(config: str, overrides: list[str] | None):
    from pipeline.config import load_config

    return load_config(config, overrides or ())


def _heavy(verbose: bool) -> None:
    """Loads TensorFlow, quietly."""
    from pipeline.quiet import quiet_native_output, set_up_environment

    set_up_environment(verbose)
    with quiet_native_output(verbose):
        import tensorflow  # noqa: F401


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()
