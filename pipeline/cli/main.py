"""The command line: parses, calls one function, exits. Imports nothing heavy until needed."""

import os
import sys
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from inception_finetune.components.errors import ExitStatus, UserError
from inception_finetune.components.io.address import without_secrets
from inception_finetune.pipeline.cli import (
    backbone,
    data,
    export,
    init,
    prediction,
    review,
    robustness,
    watch,
)
from inception_finetune.pipeline.cli.options import (
    ConfigOption,
    Overrides,
    Verbose,
    load,
    load_tensorflow,
    print_failure,
    split_overrides,
)
from inception_finetune.pipeline.cli.outcome import report_outcome
from inception_finetune.pipeline.failure import user_error

# Entry points, in pyproject.toml, by which packages above this one add their groups of commands.
MORE_COMMANDS = "inception_finetune.commands"

app = typer.Typer(
    help="Fine-tune InceptionV3 on your own pictures and put it into production.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
app.add_typer(backbone.app, name="backbone")
app.add_typer(review.app)
app.add_typer(init.app)
app.add_typer(prediction.app)
app.add_typer(export.app)
app.add_typer(robustness.app)
app.add_typer(watch.app)


def main() -> None:
    """The entry point: every foreseeable failure is one line and a status other than 0."""
    _add_more_commands()
    try:
        try:
            app(prog_name="inception-finetune")
        finally:
            if sys.stdout:  # None where it is closed
                sys.stdout.flush()  # of a full disk it is known only now
    except Exception as error:
        told = user_error(error)
        if told is None:
            raise
        print_failure("error:", without_secrets(str(told)))
        if isinstance(error, OSError):
            _drop_output()
        sys.exit(ExitStatus.FAILED)


def _drop_output() -> None:
    """Gives up what could not be written: Python would try again at its end, and complain."""
    with suppress(OSError, ValueError, AttributeError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _add_more_commands() -> None:
    known = {group.name for group in app.registered_groups}
    for entry in entry_points(group=MORE_COMMANDS):
        if entry.name not in known:
            app.add_typer(entry.load(), name=entry.name)


@app.command()
def run(config: ConfigOption = "digits", overrides: Overrides = None, verbose: Verbose = False):
    """Run the whole pipeline: convert, validate, train, evaluate, push."""
    settings = load(config, overrides)
    load_tensorflow(verbose)
    from inception_finetune.pipeline import local

    result = local.run(settings, verbose=verbose)
    report_outcome(result, settings)


@app.command()
def tensorboard(
    config: ConfigOption = "digits",
    overrides: Overrides = None,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "localhost",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on.")] = 6006,
    verbose: Verbose = False,
):
    """Look at every training of this pipeline in TensorBoard."""
    settings = load(config, overrides)
    load_tensorflow(verbose)
    from inception_finetune.pipeline.history.tensorboard import open_tensorboard

    open_tensorboard(settings, host=host, port=port)


@app.command()
def clean(
    config: ConfigOption = "digits",
    overrides: Overrides = None,
    keep: Annotated[int, typer.Option(min=1, help="Newest runs whose artifacts stay.")] = 3,
    verbose: Verbose = False,
):
    """Remove old runs' artifacts; blessed and pushed models stay."""
    settings = load(config, overrides)
    load_tensorflow(verbose)
    from inception_finetune.pipeline.history.clean import clean as clean_artifacts

    done = clean_artifacts(settings, keep)
    elsewhere = f", {done.elsewhere} that lie elsewhere" if done.elsewhere else ""
    print(
        f"{done.removed} artifacts removed, {done.freed / 1e6:.1f} MB freed; "
        f"{done.kept} kept{elsewhere}"
    )


@app.command()
def rollback(
    version: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VERSION] [KEY=VALUE]...",
            help="Number of a pushed version; default: the one before that which serves.",
        ),
    ] = None,
    config: ConfigOption = "digits",
    verbose: Verbose = False,
):
    """Put an older pushed model into service again, as the newest version."""
    chosen, overrides = split_overrides(version or [])
    settings = load(config, overrides)
    if len(chosen) > 1:
        raise UserError(f"{len(chosen)} versions are named: {' '.join(chosen)}. Name one.")
    load_tensorflow(verbose)
    from inception_finetune.pipeline.history.rollback import roll_back
    from inception_finetune.pipeline.inputs import serving_directory

    done = roll_back(settings, *chosen or (None,))
    print(f"version {done.restored} serves again: {serving_directory(settings) / done.version}")


@app.command("config")
def show_config(config: ConfigOption = "digits", overrides: Overrides = None):
    """Print the whole configuration that a run would use, as YAML."""
    import yaml

    print(yaml.safe_dump(load(config, overrides).model_dump(), sort_keys=False), end="")
