"""``inception-finetune export``: a pushed model in other formats."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from inception_finetune.components.errors import ExitStatus
from inception_finetune.components.shown_text import plain
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.cli.options import (
    ConfigOption,
    Overrides,
    Verbose,
    load,
    load_tensorflow,
    print_failure,
)

if TYPE_CHECKING:
    from inception_finetune.components.export.record import ExportRecord

app = typer.Typer()
LATEST = "latest"


@app.command()
def export(
    overrides: Overrides = None,
    formats: Annotated[
        str,
        typer.Option("--format", help="Of onnx, tflite-float16, tflite-int8, tfjs, with commas."),
    ] = "onnx,tflite-float16,tflite-int8",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder that the files are written to.")
    ] = Path("build/exports"),
    model: Annotated[
        str, typer.Option(help="A pushed model's folder, or latest: the newest pushed one.")
    ] = LATEST,
    config: ConfigOption = "digits",
    verbose: Verbose = False,
):
    """Write the pushed model in other formats, for phones, browsers and other servers.

    Each file answers test pictures before it is kept. Exits with 3 if one was refused.
    """
    from inception_finetune.components.export.formats import chosen_formats

    chosen = chosen_formats(formats)
    settings = load(config, overrides)
    load_tensorflow(verbose)
    from inception_finetune.components.errors import UserError
    from inception_finetune.components.export.export import export as write
    from inception_finetune.components.export.pictures import (
        draw_calibration_pictures,
        draw_test_pictures,
    )
    from inception_finetune.pipeline.history.model_run import run_of
    from inception_finetune.pipeline.history.outcome import latest_pushed

    directory = latest_pushed(settings) if model == LATEST else Path(model)
    if directory is None:
        raise UserError(
            f"No pushed model below {settings.root}. "
            f"Run `inception-finetune run --config {config}` first, or give --model DIR."
        )
    examples = Path(run_of(settings, directory).uri(Step.EXAMPLE_GEN, "examples"))
    record = write(
        directory,
        chosen,
        output,
        draw_test_pictures(examples, settings.export),
        draw_calibration_pictures(examples, settings.export),
        settings.export,
        verbose=verbose,
    )
    _print(record, output, Console())
    if record.refused:
        reasons = (f"{name} ({why})" for name, why in record.refused.items())
        print_failure("refused, not written:", ", ".join(reasons))
        raise typer.Exit(ExitStatus.REFUSED)


def _print(record: "ExportRecord", output: Path, console: Console) -> None:
    table = Table(
        title="Exports, beside the model on test pictures", title_justify="left", padding=0
    )
    table.add_column("export", no_wrap=True, min_width=14)
    for name in ("accuracy", "loss", "agreement", "max Δp", "MB", "ms", "peak MB"):
        table.add_column(name, justify="right")
    for row in record.rows:
        if row.size is None or row.peak_bytes is None:  # there was no file to ask
            table.add_row(row.name, *[""] * 7)
            continue
        table.add_row(
            row.name,
            f"{row.accuracy:.4f}",
            f"{row.accuracy_loss:.4f}",
            f"{row.agreement:.4f}",
            f"{row.difference:.2g}",
            f"{row.size / 1e6:.1f}",
            f"{row.milliseconds:.1f}",
            f"{row.peak_bytes / 1e6:.0f}",
        )
    console.print(table)
    for name, file in record.files.items():
        console.print(plain(f"{name}: {output / file}"), soft_wrap=True)
