"""What each task of a run is doing, from what KFP's API shows of it.

The API lists the nodes of the Argo workflow behind a run. A task is two of them: ``X-driver``,
which resolves its inputs and looks into the cache, and ``X``, which runs its container.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

WAITING, STARTING, NOT_RUN = "waiting", "starting", "not run"
RUNNING, SUCCEEDED, FAILED, SKIPPED = "running", "succeeded", "failed", "skipped"
CANCELED = "canceled"
FINISHED = {SUCCEEDED, FAILED, SKIPPED, CANCELED}
STYLES = {SUCCEEDED: "green", FAILED: "bold red", RUNNING: "cyan", STARTING: "cyan"}
_DRIVER = "-driver"
_NOT_A_TASK = ("root", "executor")
UNKNOWN = "unknown"  # also of a node that Argo left out
_UNSPECIFIED = "RUNTIME_STATE_UNSPECIFIED"


@dataclass(frozen=True)
class TaskState:
    name: str
    state: str
    seconds: float | None  # None where it has not begun


def state_of(thing: Any) -> str:
    """The state of a run or node in lower case."""
    return UNKNOWN if thing.state in (None, _UNSPECIFIED) else str(thing.state).lower()


def task_states(run: Any, names: Sequence[str], now: datetime) -> tuple[TaskState, ...]:
    """The state of each of `names`, or of the tasks that have begun where those are not known."""
    details = (run.run_details and run.run_details.task_details) or ()
    nodes = {node.display_name: node for node in details}
    ended = state_of(run) in FINISHED
    return tuple(_task_state(name, nodes, ended, now) for name in names or _begun(nodes))


def _begun(nodes: Mapping[str, Any]) -> list[str]:
    drivers = [node for name, node in nodes.items() if (name or "").endswith(_DRIVER)]
    drivers.sort(key=lambda node: (_seen(node.start_time), node.display_name))
    names = [node.display_name.removesuffix(_DRIVER) for node in drivers]
    return [name for name in names if name not in _NOT_A_TASK]


def _task_state(name: str, nodes: Mapping[str, Any], ended: bool, now: datetime) -> TaskState:
    driver, node = nodes.get(f"{name}{_DRIVER}"), nodes.get(name)
    if driver is not None and state_of(driver) == FAILED:
        return TaskState(name, FAILED, _seconds(driver, now))
    if node is not None and state_of(node) != UNKNOWN:
        return TaskState(name, state_of(node), _seconds(node, now))
    if ended:
        return TaskState(name, NOT_RUN, None)
    return TaskState(name, STARTING if driver is not None else WAITING, None)


def _seconds(node: Any, now: datetime) -> float | None:
    if node.start_time is None:
        return None
    end = node.end_time if state_of(node) in FINISHED else now
    # Where there is no end yet, the API gives one before all beginnings.
    if end is None or _seen(end) < _seen(node.start_time):
        return None
    return (_seen(end) - _seen(node.start_time)).total_seconds()


def _seen(time: datetime | None) -> datetime:
    if time is None:
        return datetime.min.replace(tzinfo=UTC)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def task_table(tasks: Iterable[TaskState], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("task")
    table.add_column("state")
    table.add_column("seconds", justify="right")
    for task in tasks:
        seconds = "" if task.seconds is None else f"{task.seconds:,.0f}"
        style = STYLES.get(task.state, "dim")
        table.add_row(task.name, f"[{style}]{task.state}[/]", seconds)
    return table
