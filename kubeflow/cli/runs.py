"""``inception-finetune kubeflow submit``, ``status``, ``logs`` and ``list``."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from inception_finetune.components.errors import ExitStatus, UserError
from inception_finetune.components.shown_text import visible
from inception_finetune.kubeflow.connection import Connection, with_connection
from inception_finetune.pipeline.cli.options import ConfigOption, load, load_tensorflow

if TYPE_CHECKING:
    from inception_finetune.kubeflow.schedules import Schedule

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
    cron: Annotated[
        str | None,
        typer.Option(help="Make a recurring run instead, such as '0 3 * * *': nightly at 3."),
    ] = None,
    max_concurrency: Annotated[
        int | None, typer.Option(min=1, max=10, help="With --cron: runs at once; default 1.")
    ] = None,
    catch_up: Annotated[
        bool, typer.Option("--catch-up", help="With --cron: run later what was missed.")
    ] = False,
):
    """Upload the pipeline if it is new, and start a run. Print the run's address."""
    schedule = _schedule(cron, max_concurrency, catch_up=catch_up, wait=wait)
    with TemporaryDirectory() as temporary:
        path = package or _compile(config, Path(temporary))
        from inception_finetune.kubeflow import runs
        from inception_finetune.kubeflow import submit as submission
        from inception_finetune.kubeflow.client import connect

        compiled = submission.read_package(path)
        values = submission.parse_parameters(compiled, parameters or ())
        if schedule and (line := submission.data_of_each_run(compiled, values)):
            Console(stderr=True, soft_wrap=True, highlight=False).print(visible(line), markup=False)
        client = connect(connection)
        wanted = submission.Submission(
            compiled,
            values,
            namespace=connection.namespace,
            experiment=experiment,
            name=run_name,
            pipeline_root=pipeline_root,
            service_account=service_account,
        )
        if schedule:
            recurring = submission.submit_recurring(client, wanted, schedule)
        else:
            run = submission.submit(client, wanted)
    if schedule:
        print(connection.schedule_link(recurring.recurring_run_id))
        return
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


@app.command()
@with_connection
def logs(
    connection: Connection,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The run's id, the end of its address.")
    ],
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Default: all that have started.")
    ] = None,
):
    """Print what a run's tasks have written to their logs."""
    from inception_finetune.kubeflow import logs, runs
    from inception_finetune.kubeflow.client import connect

    client = connect(connection)
    found = client.get_run(run)
    names = runs.read_task_names(client, found)
    logs.print_logs(client, found, names, task, connection.namespace)


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


def _schedule(
    cron: str | None, max_concurrency: int | None, *, catch_up: bool, wait: bool
) -> "Schedule | None":
    """Checks the options of a recurring run before anything is compiled or sent."""
    if cron is None:
        if max_concurrency is not None or catch_up:
            raise UserError(
                "--max-concurrency and --catch-up are of recurring runs. Give --cron as well."
            )
        return None
    if wait:
        raise UserError(
            "--wait follows one run, and --cron starts none now. Leave one of them out."
        )
    from inception_finetune.kubeflow.schedules import Schedule, six_fields

    schedule = Schedule(six_fields(cron), catch_up, max_concurrency or 1)
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        f"cron of Kubeflow, seconds first: {schedule.cron}, in the time zone of the cluster "
        "(UTC, unless its operator has set CRON_SCHEDULE_TIMEZONE)",
        markup=False,
    )
    return schedule


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
            f"[bold red]not blessed, not pushed:[/] the logs of Evaluator and InfraValidator have "
            f"the reasons: {link}"
        )
        raise typer.Exit(ExitStatus.REFUSED)
