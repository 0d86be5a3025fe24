"""What the pods of a run's tasks have written, by way of Kubeflow.

KFP's API for programs has no logs. Pipelines' web server has them, where its own pages read them;
where there is none, the API server has them at an address of its own, which the SDK does not know.
Both ask for the pod, which KFP's API does not name: Argo makes the name of a hash of the task's.
"""

import itertools
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from inception_finetune.components.errors import UserError
from inception_finetune.components.shown_text import visible
from inception_finetune.kubeflow.client import read_text

if TYPE_CHECKING:
    from kfp import Client
    from kfp_server_api import V2beta1Run

WEB_LOG: Final = "/k8s/pod/logs"
API_LOG: Final = "/apis/v1alpha1/runs/{run}/nodes/{pod}/log"
_NAMESPACE: Final = "kubeflow"  # of the pods, on a cluster with a single user
# Argo's templates, as KFP's compiler names them: of a task, of one that may be tried again, and
# of what resolves a task's inputs.
_TASK, _RETRIED, _DRIVER = (
    "system-container-impl",
    "retry-system-container-impl",
    "system-container-driver",
)
_FNV_OFFSET, _FNV_PRIME, _FNV_BITS = 0x811C9DC5, 0x01000193, 0xFFFFFFFF


def print_logs(
    client: "Client",
    run: "V2beta1Run",
    names: Sequence[str],
    task: str | None,
    namespace: str | None,
) -> None:
    """Prints the log of a task, or of each task that has started, with its name above.

    Of a task that was tried again it is the last try's, and of one whose inputs could not be
    resolved what says why. What has no log is named on stderr.

    Args:
      client: of the API.
      run: the run.
      names: its tasks, each after all that it depends on; nothing if the API does not know them.
      task: name of the task; None for all.
      namespace: the user's, on a cluster with several.

    Raises:
      UserError: the run has no such task, or there is no log at all.
    """
    if task and names and task not in names:
        raise UserError(f"No task {task} in run {run.run_id}. Give one of {', '.join(names)}.")
    if not task and not names:
        raise UserError(
            f"The tasks of run {run.run_id} are unknown: the API has lost its package. Give the "
            "name of a TASK."
        )
    pods = task_pods(run, [task] if task else names)
    if not pods:
        raise UserError(
            f"No log of {task or 'any task'} in run {run.run_id}: it has not started. See "
            f"`kubeflow status {run.run_id}`."
        )
    shown = False
    for name, pod in pods.items():
        try:
            lines = read_log(client, run, pod, namespace)
        except UserError as error:
            failure = (
                f"No log of {name} (a task from the cache has none): {error} Or ask Kubernetes, "
                f"as long as it has the pod: {kubectl(pod, namespace)}"
            )
            if task:
                raise UserError(failure) from None
            print(visible(failure), file=sys.stderr)
            continue
        if not task:
            print(f"==> {visible(name)} <==")
        for line in lines:
            print(visible(line.expandtabs()))
        shown = True
    if not shown:
        raise UserError(
            f"No log of any task in run {run.run_id}: the lines above say why. Ask Kubernetes."
        )


def read_log(client: "Client", run: "V2beta1Run", pod: str, namespace: str | None) -> Iterator[str]:
    """Reads the log of a pod, from Pipelines' web server or else its API server.

    Args:
      client: of the API.
      run: the run.
      pod: name of the pod.
      namespace: the user's, on a cluster with several.

    Returns:
      Its lines as they arrive, without their ends.

    Raises:
      UserError: neither has it; the message is the web server's.
    """
    query = {"podname": pod, "runid": run.run_id}
    if namespace:
        query["podnamespace"] = namespace
    if run.created_at:  # part of the place of a log that is kept longer than its pod
        query["createdat"] = f"{run.created_at:%Y-%m-%d}"
    try:
        return read_text(client, WEB_LOG, query)
    except UserError as error:
        try:
            return read_text(client, API_LOG.format(run=run.run_id, pod=pod), {})
        except UserError:
            raise error from None


def kubectl(pod: str, namespace: str | None) -> str:
    """The command that asks Kubernetes for the log of a pod."""
    options = ["--namespace", namespace or _NAMESPACE, "logs", pod, "--container", "main"]
    return shlex.join(["kubectl", *options])


def task_pods(run: "V2beta1Run", names: Sequence[str]) -> dict[str, str]:
    """Finds the pods of tasks, as Argo names them.

    Args:
      run: the run, with the details of its tasks.
      names: the tasks to look for.

    Returns:
      Names of pods by that of the task, in the order of `names`; tasks without a pod are left out.
    """
    details = (run.run_details and run.run_details.task_details) or ()
    nodes = {
        child.pod_name  # the node's, which is the pod's but for the template's name
        for node in details
        for child in node.child_tasks or ()
        if child.pod_name
    }
    if not nodes:
        return {}
    workflow = min(nodes).rpartition("-")[0]
    pods = {}
    for name in names:
        if node := _latest(nodes, workflow, name):
            template, number = node
            pods[name] = f"{workflow}-{template}-{number}"
    return pods


def _latest(nodes: set[str], workflow: str, task: str) -> tuple[str, int] | None:
    """The template and number of a task's last pod."""
    path = f"{workflow}.root.{task}"
    tries = (_hash(f"{path}.executor({number})") for number in itertools.count())
    *_, last = None, *itertools.takewhile(lambda number: f"{workflow}-{number}" in nodes, tries)
    if last is not None:
        return _RETRIED, last
    for template, name in ((_TASK, f"{path}.executor"), (_DRIVER, f"{path}-driver")):
        if f"{workflow}-{(number := _hash(name))}" in nodes:
            return template, number
    return None


def _hash(name: str) -> int:
    """Argo's number of a node: FNV-1a of its name, in 32 bits."""
    value = _FNV_OFFSET
    for byte in name.encode():
        value = (value ^ byte) * _FNV_PRIME & _FNV_BITS
    return value
