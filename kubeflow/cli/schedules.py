"""``inception-finetune kubeflow schedule``: the recurring runs that ``submit --cron`` makes."""

from typing import Annotated

import typer
from rich.console import Console

from inception_finetune.components.shown_text import visible
from inception_finetune.kubeflow.connection import Connection, with_connection

app = typer.Typer(help="List, pause, resume and delete recurring runs.", no_args_is_help=True)

ScheduleArgument = Annotated[
    str, typer.Argument(metavar="SCHEDULE", help="Name or id of a recurring run.")
]


@app.command("list")
@with_connection
def list_schedules(connection: Connection):
    """List all recurring runs, the newest first."""
    from inception_finetune.kubeflow import schedules
    from inception_finetune.kubeflow.client import connect

    client = connect(connection)
    found = list(schedules.list_schedules(client, connection.namespace))
    schedules.print_schedules(found, Console())


@app.command()
@with_connection
def pause(connection: Connection, schedule: ScheduleArgument):
    """Start no more runs until it is resumed; those that run go on."""
    _change(connection, schedule, "disable_recurring_run", "paused")


@app.command()
@with_connection
def resume(connection: Connection, schedule: ScheduleArgument):
    """Start runs again at the times of a schedule that is paused."""
    _change(connection, schedule, "enable_recurring_run", "resumed")


@app.command()
@with_connection
def delete(connection: Connection, schedule: ScheduleArgument):
    """Remove a schedule; the runs that it has started remain."""
    _change(connection, schedule, "delete_recurring_run", "deleted")


def _change(connection: Connection, name_or_id: str, method: str, done: str) -> None:
    from inception_finetune.kubeflow.client import connect
    from inception_finetune.kubeflow.schedules import find_schedule

    client = connect(connection)
    schedule = find_schedule(client, connection.namespace, name_or_id)
    getattr(client, method)(schedule.recurring_run_id)
    print(f"{done}: {visible(schedule.display_name)} ({schedule.recurring_run_id})")
