"""``inception-finetune kubeflow submit``, ``status`` and ``list``."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from inception_finetune.components.errors import ExitStatus
from inception_finetune.kubeflow.connection import Connection, with_connection
from inception_finetune.pipeline.cli.options import ConfigOption, load, load_tensorflow

app = typer.Typer()

WaitOption = Annotated[
    bool, typer.Option("--wait", help="Follow the run; exit with 3 if it was not blessed.")
]


@app.command()
@with_connection
def submit(
    connection: Connection,
    parameters: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Values of the package's parameters."),
    ] = None,
    config: ConfigOption = "digits",
    package: Annotated[
        Path | None, typer.Option(help="A compiled package; default: compile --config.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Groups runs; default: the pipeline's name.")
    ] = None,
    run_name: Annotated[
        str | None, typer.Option(help="Default: the pipeline and the time.")
    ] = None,
    pipeline_root: Annotated[
        str | None, typer.Option(help="Where this run's artifacts go, such as gs://bucket/path.")
    ] = None,
    service_account: Annotated[
        str | None, typer.Option(help="The Kubernetes service account of the run's pods.")
    ] = None,
    wait: WaitOption = False,
):
    """Upload the pipeline if it is new, and start a run. Print the run's address."""
    with TemporaryDirectory() as temporary:
        path = package or _compile(config, Path(temporary))
        from inception_finetune.kubeflow import runs
        from inception_finetune.kubeflow import submit as submission
        from inception_finetune.kubeflow.client import connect

        compiled = submission.read_package(path)
        values = submission.parse_parameters(compiled, parameters or ())
        client = connect(connection)
        run = submission.submit(
            client,
            compiled,
            values,
            namespace=connection.namespace,
            experiment=experiment,
            run_name=run_name,
            pipeline_root=pipeline_root,
            service_account=service_account,
        )
    link = connection.run_link(run.run_id)
    print(link)
    if wait:
        _exit_unless_pushed(runs.follow(client, run.run_id, compiled.tasks, link), link)


@app.command()
@with_connection
def status(
    connection: Connection,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The run's id, the end of its address.")
    ],
    wait: WaitOption = False,
):
    """Show a run's tasks, or follow it to its end."""
    from inception_finetune.kubeflow import runs
    from inception_finetune.kubeflow.client import connect

    client = connect(connection)
    link = connection.run_link(run)
    first = client.get_run(run)
    if wait:
        names = runs.read_task_names(client, first)
        _exit_unless_pushed(runs.follow(client, run, names, link), link)
    else:
        runs.print_status(client, first, link, Console())


@app.command("list")
@with_connection
def list_runs(
    connection: Connection,
    experiment: Annotated[
        str | None, typer.Option(help="Of this experiment; default: of all.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=200, help="How many, the newest first.")] = 20,
):
    """List the newest runs."""
    from inception_finetune.kubeflow import runs
    from inception_finetune.kubeflow.client import connect

    newest = runs.newest_runs(connect(connection), connection.namespace, experiment, count)
    runs.print_runs(newest, Console())


def _compile(config: str, directory: Path) -> Path:
    settings = load(config, None)
    load_tensorflow(verbose=False)
    from inception_finetune.kubeflow.compile import compile_pipeline

    path = directory / "pipeline.yaml"
    compile_pipeline(settings, path)
    return path


def _exit_unless_pushed(pushed: bool, link: str) -> None:
    if not pushed:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"[bold red]not blessed, not pushed:[/] the log of Evaluator has the reasons: {link}"
        )
        raise typer.Exit(ExitStatus.REFUSED)
