"""Recurring runs: the cron expression of one, and those that a cluster has."""

import calendar
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

from inception_finetune.components.errors import UserError
from inception_finetune.components.shown_text import plain

if TYPE_CHECKING:
    from kfp import Client
    from kfp_server_api import V2beta1RecurringRun

MOST_AT_ONCE: Final = 10  # runs of one schedule that Kubeflow's API allows
_PAGE: Final = 200  # recurring runs in an answer; the API gives no more
_ID: Final = 36  # characters of an id
_LEAP_YEAR: Final = 2024  # every day that there is in a year
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Of each field: its name, the least and the greatest value, and words for all values.
_FIELDS: Final[tuple[tuple[str, int, int, tuple[str, ...]], ...]] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week, 0 for Sunday,", 0, 6, _WEEKDAYS),
)
_PART = re.compile(r"(?:[*?]|(\w{1,3})(?:-(\w{1,3}))?)(?:/(\d{1,3}))?", re.ASCII)


@dataclass(frozen=True)
class Schedule:
    """When a recurring run starts."""

    cron: str  # as `six_fields` gives it
    catch_up: bool = False  # whether times that were missed, as while paused, are run later
    max_concurrency: int = 1  # runs at once, at most MOST_AT_ONCE


def six_fields(cron: str) -> str:
    """Checks a cron expression, and puts the field of seconds before one without it.

    Kubeflow reads five fields as well, as second to month: every hour for ``0 3 * * *``.

    Args:
      cron: five fields as of cron, or six with seconds first; numbers, names of months and days,
        ranges, lists and steps.

    Returns:
      Six fields with a space between them.

    Raises:
      UserError: the expression is none, or names a date that never comes.
    """
    fields = cron.split()
    if len(fields) == len(_FIELDS) - 1:
        fields = ["0", *fields]
    try:
        if len(fields) != len(_FIELDS):
            raise ValueError(f"{len(fields)} fields")
        values = [_values(text, *field) for text, field in zip(fields, _FIELDS, strict=True)]
        *_, days, months, _ = values
        if fields[-1] in ("*", "?") and min(days) > max(map(_days_in, months)):
            raise ValueError("a day that no month has")
    except ValueError as error:
        raise UserError(
            f"Invalid --cron {cron!r}: {error}. Give five fields, minute, hour, day of the month, "
            "month and day of the week, such as '0 3 * * *', or six with seconds first."
        ) from None
    return " ".join(fields)


def list_schedules(client: "Client", namespace: str | None) -> Iterator["V2beta1RecurringRun"]:
    """Lists all recurring runs, the newest first.

    Args:
      client: of the API.
      namespace: the user's, on a cluster with several.

    Yields:
      The recurring runs.
    """
    page = ""
    while True:
        answer = client.list_recurring_runs(
            page_token=page, page_size=_PAGE, sort_by="created_at desc", namespace=namespace
        )
        yield from answer.recurring_runs or ()
        page = answer.next_page_token
        if not page:
            return


def find_schedule(
    client: "Client", namespace: str | None, name_or_id: str
) -> "V2beta1RecurringRun":
    """Looks a recurring run up.

    Args:
      client: of the API.
      namespace: the user's, on a cluster with several.
      name_or_id: its name or its id.

    Returns:
      The recurring run.

    Raises:
      UserError: there is none, or several have the name.
    """
    found = [
        schedule
        for schedule in list_schedules(client, namespace)
        if name_or_id in (schedule.recurring_run_id, schedule.display_name)
    ]
    if not found:
        raise UserError(
            f"No recurring run of the name or id {name_or_id}. See `kubeflow schedule list`."
        )
    if len(found) > 1:
        ids = ", ".join(schedule.recurring_run_id for schedule in found)
        raise UserError(
            f"{len(found)} recurring runs have the name {name_or_id}. Give one of {ids}."
        )
    return found[0]


def print_schedules(schedules: Sequence["V2beta1RecurringRun"], console: Console) -> None:
    """Prints a table of recurring runs: id, name, schedule, state, time of creation.

    Args:
      schedules: in the order to print them.
      console: what they are printed on.
    """
    table = Table()
    table.add_column("schedule", no_wrap=True, min_width=_ID)  # to be copied, or read by a program
    for heading in ("name", "cron", "state", "created"):
        table.add_column(heading, overflow="fold")
    for schedule in schedules:
        created = schedule.created_at
        table.add_row(
            schedule.recurring_run_id,
            plain(schedule.display_name),
            plain(_when(schedule)),
            _state(schedule),
            f"{created.astimezone():%Y-%m-%d %H:%M}" if created else "",
        )
    console.print(table)


def _when(schedule: "V2beta1RecurringRun") -> str:
    trigger = schedule.trigger
    if trigger and trigger.cron_schedule:
        return trigger.cron_schedule.cron or ""
    if trigger and trigger.periodic_schedule:
        return f"every {trigger.periodic_schedule.interval_second} s"
    return ""


def _state(schedule: "V2beta1RecurringRun") -> str:
    return {"ENABLED": "[green]active[/]", "DISABLED": "[dim]paused[/]"}.get(
        schedule.status, "[dim]unknown[/]"
    )


def _values(text: str, name: str, least: int, greatest: int, words: Sequence[str]) -> set[int]:
    """The values that a field of an expression stands for."""
    values: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{name} cannot be {part!r}")
        first, last, step = match.groups()
        numbers = {word: value for value, word in enumerate(words, least)}
        start = least if first is None else _number(first, name, numbers)
        end = start if first and step is None else greatest  # 5/15 is 5-59/15
        end = end if last is None else _number(last, name, numbers)
        if not least <= start <= end <= greatest:
            raise ValueError(f"{name} {part} is not in {least}-{greatest}")
        if step is not None and int(step) == 0:
            raise ValueError(f"{name} {part} has no step")
        values.update(range(start, end + 1, int(step or 1)))
    return values


def _number(text: str, name: str, words: dict[str, int]) -> int:
    value = words.get(text.lower())
    if value is None and not text.isdecimal():
        raise ValueError(f"{name} cannot be {text!r}")
    return int(text) if value is None else value


def _days_in(month: int) -> int:
    return calendar.monthrange(_LEAP_YEAR, month)[1]
