"""Runs on a cluster: one followed to its end, one looked at, many listed."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import tenacity
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from inception_finetune.components.errors import UserError
from inception_finetune.kubeflow.client import Client, UnavailableError
from inception_finetune.kubeflow.package import task_names
from inception_finetune.kubeflow.task_states import (
    CANCELED,
    FAILED,
    FINISHED,
    STYLES,
    SUCCEEDED,
    TaskState,
    state_of,
    task_states,
    task_table,
)
from inception_finetune.kubeflow.verdict import is_pushed

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Run

POLL_SECONDS = 5.0
PATIENCE_SECONDS = 600.0  # that the API may be away while a run is followed
LONGEST_PAUSE = 60.0


def follow(client: Client, run_id: str, names: Sequence[str], link: str) -> bool:
    """Shows each task's state until the run ends; returns whether its model was pushed.

    On a terminal a table that changes, in a log a line for each change; both on stderr.

    Raises:
      UserError: the run failed or was canceled, or the API stays away.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        known: dict[str, str] = {}
        while True:
            run, tasks = _look(client, run_id, names)
            for task in tasks:
                if known.get(task.name, "waiting") != task.state:
                    console.print(_line(task))
                known[task.name] = task.state
            if state_of(run) in FINISHED:
                return _outcome(run, tasks, link)
            time.sleep(POLL_SECONDS)
    with Live(console=console, refresh_per_second=2) as live:
        while True:
            run, tasks = _look(client, run_id, names)
            live.update(Group(task_table(tasks, _title(run)), f"[dim]{link}[/]"))
            if state_of(run) in FINISHED:
                break
            time.sleep(POLL_SECONDS)
    return _outcome(run, tasks, link)


def names_of_tasks(client: Client, run: "V2beta1Run") -> tuple[str, ...]:
    """All tasks of the package that `run` was started from; none where the API has lost it."""
    spec = run.pipeline_spec
    reference = run.pipeline_version_reference
    if not spec and reference and reference.pipeline_version_id:
        spec = client.get_pipeline_version(
            reference.pipeline_id, reference.pipeline_version_id
        ).pipeline_spec
    if not spec:
        return ()
    spec = spec.get("pipeline_spec", spec)  # with a second part for Kubernetes, it is one of two
    message = pipeline_spec_pb2.PipelineSpec()
    return task_names(json_format.ParseDict(spec, message, ignore_unknown_fields=True))


def newest_runs(
    client: Client, namespace: str | None, experiment: str | None, count: int
) -> Sequence["V2beta1Run"]:
    """The `count` newest runs, of one experiment or of all.

    Raises:
      UserError: no experiment of that name.
    """
    experiment_id = None
    if experiment:
        try:
            found = client.get_experiment(experiment_name=experiment, namespace=namespace)
        except ValueError:  # KFP's way to say it
            raise UserError(
                f"--experiment must be one that is there. Received: {experiment}; "
                "leave it out to see all runs"
            ) from None
        experiment_id = found.experiment_id
    answer = client.list_runs(
        page_size=count,
        sort_by="created_at desc",
        experiment_id=experiment_id,
        namespace=None if experiment_id else namespace,
    )
    return answer.runs or ()


def print_status(client: Client, run: "V2beta1Run", link: str, console: Console) -> None:
    tasks = task_states(run, names_of_tasks(client, run), datetime.now(UTC))
    console.print(task_table(tasks, _title(run)))
    if run.error and run.error.message:
        console.print(run.error.message, style="red", markup=False)
    if state_of(run) == SUCCEEDED and is_pushed(tasks) is False:
        console.print("[bold red]not blessed, not pushed[/]")
    console.print(link, highlight=False, soft_wrap=True)


def print_runs(runs: Sequence["V2beta1Run"], console: Console) -> None:
    table = Table()
    for heading in ("run", "name", "state", "created"):
        table.add_column(heading, overflow="fold")
    table.add_column("minutes", justify="right")
    for run in runs:
        state = state_of(run)
        table.add_row(
            run.run_id,
            run.display_name,
            f"[{STYLES.get(state, 'dim')}]{state}[/]",
            f"{run.created_at.astimezone():%Y-%m-%d %H:%M}" if run.created_at else "",
            _minutes(run),
        )
    console.print(table)


def _minutes(run: "V2beta1Run") -> str:
    if not run.created_at or not run.finished_at or run.finished_at < run.created_at:
        return ""
    return f"{(run.finished_at - run.created_at).total_seconds() / 60:.1f}"


def _look(
    client: Client, run_id: str, names: Sequence[str]
) -> tuple["V2beta1Run", tuple[TaskState, ...]]:
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(UnavailableError),
        wait=tenacity.wait_exponential(multiplier=1, max=LONGEST_PAUSE),
        stop=tenacity.stop_after_delay(PATIENCE_SECONDS),
        reraise=True,
    ):
        with attempt:
            run = client.get_run(run_id)
    return run, task_states(run, names, datetime.now(UTC))


def _outcome(run: "V2beta1Run", tasks: Sequence[TaskState], link: str) -> bool:
    if state_of(run) == CANCELED:
        raise UserError(f"the run must end by itself. Received: canceled, {link}; submit it again")
    if state_of(run) != SUCCEEDED:
        broken = ", ".join(task.name for task in tasks if task.state == FAILED) or "no task of it"
        said = (
            f" ({' '.join(run.error.message.split())})" if run.error and run.error.message else ""
        )
        raise UserError(
            f"every task must succeed. Received: failed {broken}{said}; read its log at {link}, "
            "mend the cause and submit again: what succeeded is cached"
        )
    pushed = is_pushed(tasks)
    if pushed is None:
        raise UserError(
            "a run must show whether Pusher ran. Received: it succeeded, without Pusher's state; "
            f"look at {link}"
        )
    return pushed


def _title(run: "V2beta1Run") -> str:
    return f"{run.display_name}: {state_of(run)}"


def _line(task: TaskState) -> str:
    seconds = (
        "" if task.seconds is None or task.state not in FINISHED else f", {task.seconds:,.0f} s"
    )
    return f"{task.name}: {task.state}{seconds}"
