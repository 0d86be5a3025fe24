"""What each task of a run is doing, and the gate's verdict, from what KFP's API shows of them.

The API lists the nodes of the Argo workflow behind a run. A task is two of them: ``X-driver``,
which resolves its inputs and looks into the cache, and ``X``, which runs its container.

A node has a state and times, but no outputs. So the package lets Pusher run only if Evaluator has
blessed the model, and InfraValidator where there is one; if not, the run succeeds with Pusher
skipped, which the API shows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import Any

from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec
from rich.table import Table

from inception_finetune.components.steps import Step

WAITING, STARTING, NOT_RUN = "waiting", "starting", "not run"
RUNNING, SUCCEEDED, FAILED, SKIPPED = "running", "succeeded", "failed", "skipped"
CANCELED = "canceled"
FINISHED = {SUCCEEDED, FAILED, SKIPPED, CANCELED}
STYLES = {SUCCEEDED: "green", FAILED: "bold red", RUNNING: "cyan", STARTING: "cyan"}
# In CEL, over the ExecutorInput of Pusher. TFX writes numbers of metadata as doubles.
BLESSED = "inputs.artifacts['{}'].artifacts[0].metadata['blessed'] == 1.0"
BY_EVALUATOR, BY_INFRA_VALIDATOR = "model_blessing", "infra_blessing"  # inputs of Pusher
UNKNOWN = "unknown"  # also of a node that Argo left out
_UNSPECIFIED = "RUNTIME_STATE_UNSPECIFIED"
_NEVER = datetime.min.replace(tzinfo=UTC)
_DRIVER = "-driver"
_NOT_A_TASK = ("root", "executor")


@dataclass(frozen=True)
class TaskState:
    """State of one task: one of the constants above."""

    name: str
    state: str
    seconds: float | None  # so far, or in all; None before it starts


def push_only_when_blessed(package: dict[str, Any]) -> None:
    """Changes a PipelineSpec so that Pusher is skipped if the model is not blessed.

    Args:
      package: the PipelineSpec as a dictionary; changed in place.
    """
    pusher = package["root"]["dag"]["tasks"][Step.PUSHER]
    keys = [BY_EVALUATOR]
    if BY_INFRA_VALIDATOR in pusher.get("inputs", {}).get("artifacts", {}):
        keys.append(BY_INFRA_VALIDATOR)
    pusher["triggerPolicy"] = {"condition": " && ".join(map(BLESSED.format, keys))}


def is_pushed(tasks: Iterable[TaskState]) -> bool | None:
    """Whether a run that succeeded has pushed its model.

    Args:
      tasks: the states of the run's tasks.

    Returns:
      False if Pusher was skipped; None if its state is neither that nor success.
    """
    states = {task.name: task.state for task in tasks}
    return {SUCCEEDED: True, SKIPPED: False}.get(states.get(Step.PUSHER, ""))


def task_names(spec: PipelineSpec) -> tuple[str, ...]:
    """Orders the tasks of a pipeline.

    Args:
      spec: the compiled pipeline.

    Returns:
      The names of its tasks, each after all that it depends on.

    Raises:
      graphlib.CycleError: tasks depend on each other.
    """
    tasks = spec.root.dag.tasks
    graph = {name: sorted(tasks[name].dependent_tasks) for name in sorted(tasks)}
    return tuple(TopologicalSorter(graph).static_order())


def state_of(run_or_node: Any) -> str:
    """The state that the API gives.

    Args:
      run_or_node: a V2beta1Run or V2beta1PipelineTaskDetail.

    Returns:
      The state in lower case, as the constants above; `UNKNOWN` if the API gives none.
    """
    state = run_or_node.state
    return UNKNOWN if state in (None, _UNSPECIFIED) else str(state).lower()


def task_states(run: Any, names: Sequence[str], now: datetime) -> tuple[TaskState, ...]:
    """The states of a run's tasks.

    Args:
      run: a V2beta1Run.
      names: the tasks to look for; empty for those that have started, in the order of their start.
      now: the current time, with a time zone.

    Returns:
      A state for each name, in their order.
    """
    details = (run.run_details and run.run_details.task_details) or ()
    nodes = {node.display_name: node for node in details}
    ended = state_of(run) in FINISHED
    return tuple(_task_state(name, nodes, ended, now) for name in names or _started(nodes))


def task_table(tasks: Iterable[TaskState], title: str) -> Table:
    """Makes a table of tasks with their states and seconds.

    Args:
      tasks: a row each.
      title: what stands above the table.

    Returns:
      The table, to be printed on a Rich console.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("task")
    table.add_column("state")
    table.add_column("seconds", justify="right")
    for task in tasks:
        seconds = "" if task.seconds is None else f"{task.seconds:,.0f}"
        table.add_row(task.name, styled(task.state), seconds)
    return table


def styled(state: str) -> str:
    """A state in Rich's markup."""
    return f"[{STYLES.get(state, 'dim')}]{state}[/]"


def _started(nodes: Mapping[str, Any]) -> list[str]:
    drivers = [node for name, node in nodes.items() if (name or "").endswith(_DRIVER)]
    drivers.sort(key=lambda node: (node.start_time or _NEVER, node.display_name))
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
    end = node.end_time if state_of(node) in FINISHED else now
    # Without an end yet, the API gives one before all beginnings.
    if not node.start_time or not end or end < node.start_time:
        return None
    return (end - node.start_time).total_seconds()
