"""``inception-finetune kubeflow``: compile the pipeline for a cluster and run it there."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from inception_finetune.kubeflow.cli import runs, schedules, serving
from inception_finetune.pipeline.cli.options import (
    ConfigOption,
    Overrides,
    Verbose,
    load,
    load_tensorflow,
)

app = typer.Typer(help="Compile the pipeline for Kubeflow and run it there.", no_args_is_help=True)
app.add_typer(runs.app)
app.add_typer(schedules.app, name="schedule")
app.add_typer(serving.app)


@app.command()
def upload(
    config: ConfigOption = "digits",
    overrides: Overrides = None,
    to: Annotated[
        str | None,
        typer.Option(help="Another folder than below kubeflow.storage, such as one for a volume."),
    ] = None,
    verbose: Verbose = False,
):
    """Copy records, schema and backbone to kubeflow.storage. Print where they lie."""
    settings = load(config, overrides)
    load_tensorflow(verbose)
    from inception_finetune.kubeflow.upload import plan_upload, upload
    from inception_finetune.pipeline.inputs import prepare_inputs
    from inception_finetune.pipeline.locks import pipeline_lock

    console = Console(stderr=True, highlight=False)
    with pipeline_lock(Path(settings.root)):
        plan = plan_upload(prepare_inputs(settings))
        place = to or plan.place(settings)
        upload(plan, place, lambda part: console.print(f"[dim]{part}[/]"))
    print(place)


@app.command("compile")
def compile_package(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A .yaml for Kubeflow, or a .json for Vertex AI."),
    ],
    config: ConfigOption = "digits",
    overrides: Overrides = None,
    verbose: Verbose = False,
):
    """Write the pipeline's package; needs no network and no credentials."""
    settings = load(config, overrides)
    load_tensorflow(verbose)
    from inception_finetune.kubeflow.compile import compile_pipeline

    compile_pipeline(settings, output)
    print(output)
