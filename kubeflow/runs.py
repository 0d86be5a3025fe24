"""Runs on a cluster: one followed to its end, one looked at, several listed."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import tenacity
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from inception_finetune.components.errors import UserError
from inception_finetune.components.shown_text import plain
from inception_finetune.kubeflow.client import UnavailableError
from inception_finetune.kubeflow.task_states import (
    CANCELED,
    FAILED,
    FINISHED,
    SUCCEEDED,
    WAITING,
    TaskState,
    is_pushed,
    state_of,
    styled,
    task_names,
    task_states,
    task_table,
)

if TYPE_CHECKING:
    from kfp import Client
    from kfp_server_api import V2beta1Run

    RunAndTasks = tuple[V2beta1Run, tuple[TaskState, ...]]

POLL_SECONDS = 5.0
_ID = 36  # characters of a run's id
MAX_OUTAGE_SECONDS = 600.0  # that the API may be away while a run is followed
MAX_PAUSE_SECONDS = 60.0  # between two requests to an API that is away


def follow(client: "Client", run_id: str, names: Sequence[str], link: str) -> bool:
    """Shows each task's state on stderr until the run ends.

    On a terminal it is a table that changes, in a log a line for each change.

    Args:
      client: of the API.
      run_id: id of the run.
      names: the run's tasks, in the order to show them.
      link: address of the run's web page.

    Returns:
      Whether the run's model was pushed.

    Raises:
      UserError: the run failed or was canceled, the API stays away, or it does not show whether
        the model was pushed.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=2) as live:
            for run, tasks in _poll(client, run_id, names):
                live.update(Group(task_table(tasks, _title(run)), f"[dim]{link}[/]"))
    else:
        shown = dict.fromkeys(names, WAITING)
        for run, tasks in _poll(client, run_id, names):  # noqa: B007 - the last one is needed
            for task in tasks:
                if shown.get(task.name) != task.state:
                    console.print(_line(task))
                    shown[task.name] = task.state
    return _outcome(run, tasks, link)


def read_task_names(client: "Client", run: "V2beta1Run") -> tuple[str, ...]:
    """The names of all tasks of a run's package, or nothing if the API has lost the package.

    Args:
      client: of the API, which is asked for the version unless the run holds it.
      run: the run.

    Returns:
      Names of tasks, each after all that it depends on.
    """
    spec = run.pipeline_spec
    reference = run.pipeline_version_reference
    if not spec and reference and reference.pipeline_version_id:
        spec = client.get_pipeline_version(
            reference.pipeline_id, reference.pipeline_version_id
        ).pipeline_spec
    if not spec:
        return ()
    spec = spec.get("pipeline_spec", spec)  # with a second part for Kubernetes, it is one of two
    return task_names(json_format.ParseDict(spec, PipelineSpec(), ignore_unknown_fields=True))


def newest_runs(
    client: "Client", namespace: str | None, experiment: str | None, count: int
) -> Sequence["V2beta1Run"]:
    """Lists runs, the newest first.

    Args:
      client: of the API.
      namespace: the user's, on a cluster with several.
      experiment: name of the experiment whose runs to list; None for all.
      count: how many at most.

    Returns:
      The runs.

    Raises:
      UserError: there is no experiment of that name.
    """
    experiment_id = None
    if experiment:
        try:
            experiment_id = client.get_experiment(
                experiment_name=experiment, namespace=namespace
            ).experiment_id
        except ValueError as error:  # KFP's message names it
            raise UserError(f"{error} Leave out --experiment to list all runs.") from None
    response = client.list_runs(
        page_size=count,
        sort_by="created_at desc",
        experiment_id=experiment_id,
        namespace=None if experiment_id else namespace,
    )
    return response.runs or ()


def print_status(client: "Client", run: "V2beta1Run", link: str, console: Console) -> None:
    """Prints a run's tasks, its error, and whether the gate refused its model.

    Args:
      client: of the API.
      run: the run.
      link: address of the run's web page.
      console: what it is printed on.
    """
    tasks = task_states(run, read_task_names(client, run), datetime.now(UTC))
    console.print(task_table(tasks, _title(run)))
    if run.error and run.error.message:
        console.print(plain(run.error.message, style="red"))
    if state_of(run) == SUCCEEDED and is_pushed(tasks) is False:
        console.print("[bold red]not blessed, not pushed[/]")
    console.print(link, highlight=False, soft_wrap=True)


def print_runs(runs: Sequence["V2beta1Run"], console: Console) -> None:
    """Prints a table of runs: id, name, state, time of creation, minutes.

    Args:
      runs: the runs, in the order to print them.
      console: what they are printed on.
    """
    table = Table()
    table.add_column("run", no_wrap=True, min_width=_ID)  # to be copied, or read by a program
    for heading in ("name", "state", "created"):
        table.add_column(heading, overflow="fold")
    table.add_column("minutes", justify="right")
    for run in runs:
        created = f"{run.created_at.astimezone():%Y-%m-%d %H:%M}" if run.created_at else ""
        table.add_row(
            run.run_id, plain(run.display_name), styled(state_of(run)), created, _minutes(run)
        )
    console.print(table)


def _minutes(run: "V2beta1Run") -> str:
    if not run.created_at or not run.finished_at or run.finished_at < run.created_at:
        return ""
    return f"{(run.finished_at - run.created_at).total_seconds() / 60:.1f}"


def _poll(client: "Client", run_id: str, names: Sequence[str]) -> Iterator["RunAndTasks"]:
    """The run and its tasks every few seconds, the last time when it has ended.

    KFP's `wait_for_run_completion` shows nothing, gives up at the API's first failure, and does
    not end with a canceled run.
    """
    get_run = tenacity.retry(
        retry=tenacity.retry_if_exception_type(UnavailableError),
        wait=tenacity.wait_exponential(max=MAX_PAUSE_SECONDS),
        stop=tenacity.stop_after_delay(MAX_OUTAGE_SECONDS),
        reraise=True,
    )(client.get_run)
    while True:
        run = get_run(run_id)
        yield run, task_states(run, names, datetime.now(UTC))
        if state_of(run) in FINISHED:
            return
        time.sleep(POLL_SECONDS)


def _outcome(run: "V2beta1Run", tasks: Sequence[TaskState], link: str) -> bool:
    if state_of(run) == CANCELED:
        raise UserError(f"Run was canceled: {link}. Submit it again.")
    if state_of(run) != SUCCEEDED:
        failed = ", ".join(task.name for task in tasks if task.state == FAILED) or "no task"
        reason = " ".join(run.error.message.split()) if run.error and run.error.message else ""
        raise UserError(
            f"Run failed in {failed}{f' ({reason})' if reason else ''}. Read the log at "
            f"{link}, correct the cause and submit again: the tasks that succeeded are cached."
        )
    pushed = is_pushed(tasks)
    if pushed is None:
        raise UserError(f"Run succeeded but the API does not report Pusher's state. See {link}.")
    return pushed


def _title(run: "V2beta1Run") -> str:
    return f"{run.display_name}: {state_of(run)}"


def _line(task: TaskState) -> str:
    if task.seconds is None or task.state not in FINISHED:
        return f"{task.name}: {task.state}"
    return f"{task.name}: {task.state}, {task.seconds:,.0f} s"
