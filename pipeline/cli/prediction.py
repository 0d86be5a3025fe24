"""Commands that ask the pushed model: predict, serve."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from inception_finetune.components.errors import ExitStatus, UserError
from inception_finetune.components.progress import Advance, progress
from inception_finetune.components.shown_text import plain
from inception_finetune.pipeline.cli.options import (
    ConfigOption,
    Overrides,
    Verbose,
    load,
    load_tensorflow,
    print_failure,
    split_overrides,
)
from inception_finetune.pipeline.prediction.formats import Format, chosen_format
from inception_finetune.pipeline.serving.limits import Limits

if TYPE_CHECKING:
    from inception_finetune.pipeline.config import Config
    from inception_finetune.pipeline.prediction.predict import Model, Prediction, Summary

app = typer.Typer()
_LIMITS: Final = Limits()
_MIB: Final = 1 << 20


@app.command()
def predict(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PICTURES]... [KEY=VALUE]...",
            help="Picture files of any size, folders of them, patterns ('shots/*.jpg'), "
            "addresses (https://, s3://, gs://), TFRecord files, - for a list on standard input; "
            "overrides.",
        ),
    ] = None,
    lists: Annotated[
        list[str] | None,
        typer.Option("--list", metavar="FILE", help="A text file of one address a line."),
    ] = None,
    config: ConfigOption = "digits",
    model: Annotated[
        Path | None,
        typer.Option(
            help="A pushed model's folder, or a file of `export` (.onnx, .tflite), for which "
            "TensorFlow is not needed; default: the newest pushed one."
        ),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format", help="Default: as --output ends; without it, a table.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="The file that rows are written to. Default: standard output."),
    ] = None,
    on_beam: Annotated[
        bool,
        typer.Option(
            "--on-beam",
            help="Run on the engine of beam.runner; --output is a new folder of Parquet shards.",
        ),
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="The likeliest classes in a row.")] = 3,
    save_grid: Annotated[
        Path | None, typer.Option(help="A PNG that the predictions are drawn to.")
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(
            help="Where the model looked: a new folder for a PNG of each picture, or a page "
            "(.html) of mistakes and doubts."
        ),
    ] = None,
    verbose: Verbose = False,
):
    """Classify pictures with the pushed model. A folder named as a class says what is true.

    Exits with 5 if some pictures could not be read: their rows have an error.
    """
    places, overrides = split_overrides(pictures or [])
    if not places and not lists:
        raise typer.BadParameter("Give PICTURES, or --list FILE.")
    if on_beam and (output is None or save_grid or explain or form not in (None, Format.PARQUET)):
        raise UserError(
            "--on-beam writes shards of Parquet and nothing else. Give --output DIR, without "
            "--save-grid, --explain and another --format."
        )
    form = Format.PARQUET if on_beam else chosen_format(form, output)
    from inception_finetune.components.export.exported_file import is_exported_file
    from inception_finetune.pipeline.prediction.addresses import find_pictures
    from inception_finetune.pipeline.prediction.output import writing
    from inception_finetune.pipeline.prediction.pictures import read_pictures
    from inception_finetune.pipeline.prediction.predict import SHOWN, Model, Summary
    from inception_finetune.pipeline.prediction.predict import predict as answers

    settings = None
    if model is not None and is_exported_file(model):
        from inception_finetune.components.export.exported_model import ExportedModel

        if explain:
            raise UserError(
                f"--model {model} is an exported file, which does not say where it looks. "
                "Leave out --explain, or give the folder of a pushed model."
            )
        if on_beam or overrides:
            raise UserError(
                f"--model {model} is asked by this process alone, without a configuration. "
                "Leave out --on-beam and KEY=VALUE, or give the folder of a pushed model."
            )
        pushed: Model = ExportedModel(model)
    else:
        settings = load(config, overrides)
        load_tensorflow(verbose)
        from inception_finetune.components.io.pushed_model import PushedModel

        pushed = PushedModel(_directory(settings, config, model))
    files = find_pictures(places, lists or [])
    top = min(top, len(pushed.label_names))
    if settings is not None and on_beam and output is not None:
        from inception_finetune.pipeline.prediction.on_beam import predict_on_beam

        done = predict_on_beam(files, pushed, output, top=top, settings=settings.beam)
        print(f"{done.total:,} pictures: {output}", file=sys.stderr)
        _end(done, Console(stderr=True, highlight=False))
        return
    if save_grid:
        from inception_finetune.pipeline.prediction.grid import draw_predictions
    summary = Summary(keep=SHOWN if save_grid or explain else 0)
    with (
        _explaining(explain, pushed, summary) as draw,
        writing(form, output, top) as writer,
        _progress(output) as advance,
    ):
        for batch in answers(pushed, read_pictures(files, pushed.label_names)):
            writer.write(batch)
            summary.add(batch)
            draw(batch)
            advance(len(batch))
    said = Console(stderr=form is not Format.TABLE or bool(output), highlight=False)
    if writer.changed:
        said.print(
            f"{writer.changed:,} texts are not as they were: what is not printable is escaped, and "
            "what a spreadsheet takes for a formula has ' before it. jsonl keeps them.",
            soft_wrap=True,
        )
    if save_grid:
        shown = draw_predictions(summary, save_grid)
        said.print(plain(f"{shown} pictures: {save_grid}"), soft_wrap=True)
    if explain:
        said.print(plain(f"where the model looked: {explain}"), soft_wrap=True)
    _end(summary, said)


@app.command()
def serve(
    config: ConfigOption = "digits",
    overrides: Overrides = None,
    versions: Annotated[
        Path | None,
        typer.Option(
            help="The folder that versions are pushed to; default: that of the configuration."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8501,
    max_body: Annotated[
        float, typer.Option(min=0.001, help="MiB of a request's body.")
    ] = _LIMITS.body_bytes / _MIB,
    max_pictures: Annotated[
        int, typer.Option(min=1, help="Pictures in a request.")
    ] = _LIMITS.examples,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Requests that are read or answered at a time.")
    ] = _LIMITS.requests,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1, help="Seconds in which a request must be there, and its answer taken."
        ),
    ] = _LIMITS.body_seconds,
    canary: Annotated[
        int | None,
        typer.Option(min=0, help="A version that gets a share of the requests, beside the newest."),
    ] = None,
    canary_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the requests that the canary gets.")
    ] = 0.1,
    shadow: Annotated[
        bool,
        typer.Option("--shadow", help="The canary is asked as well, and never answers a client."),
    ] = False,
    verbose: Verbose = False,
):
    """Serve the pushed model: TensorFlow Serving's REST routes, and a page to drop pictures on.

    New versions are taken up as they are pushed. /healthz, /metrics and /canary are for clusters.
    """
    if canary is None and shadow:
        raise UserError("--shadow has no canary. Give --canary VERSION.")
    if not canary_share:
        raise UserError("--canary-share=0 gives the canary nothing. Give more, or no --canary.")
    settings = load(config, overrides)
    load_tensorflow(verbose)
    from inception_finetune.pipeline.inputs import serving_directory
    from inception_finetune.pipeline.serving.canary import Canary
    from inception_finetune.pipeline.serving.server import serve as run_server

    limits = Limits(
        body_bytes=int(max_body * _MIB),
        examples=max_pictures,
        requests=max_requests,
        body_seconds=timeout,
        idle_seconds=timeout,
    )
    folder = versions or serving_directory(settings)
    beside = None
    if canary is not None:
        beside = Canary(version=canary, share=canary_share, shadow=shadow)
    run_server(settings.name, folder, host=host, port=port, limits=limits, canary=beside)


def _end(summary: "Summary", said: Console) -> None:
    """Says what was counted, and exits where pictures could not be read."""
    if summary.right_line:
        said.print(summary.right_line)
    if summary.unread:
        print_failure("not read:", summary.unread_line)
        raise typer.Exit(ExitStatus.UNREAD)


def _directory(settings: "Config", config: str, model: Path | None) -> Path:
    """The model's folder: the one that was given, or the newest pushed one."""
    from inception_finetune.pipeline.history.outcome import latest_pushed

    directory = model or latest_pushed(settings)
    if directory is None:
        raise UserError(
            f"No pushed model below {settings.root}. "
            f"Run `inception-finetune run --config {config}` first, or give --model DIR."
        )
    return directory


def _explaining(
    target: Path | None, model: "Model", summary: "Summary"
) -> "AbstractContextManager[Callable[[Sequence[Prediction]], None]]":
    """What draws where the model looks, or does nothing."""
    if target is None:
        return nullcontext(lambda batch: None)
    from inception_finetune.components.io.pushed_model import PushedModel
    from inception_finetune.pipeline.prediction.explained import explaining

    assert isinstance(model, PushedModel)
    return explaining(target, model, summary)


def _progress(output: Path | None) -> AbstractContextManager[Advance]:
    """A bar, unless rows appear on the same terminal."""
    if output is None and sys.stdout.isatty():
        return nullcontext(lambda n, note="": None)
    return progress("Predicting", None, "images")
