"""Runs a compiled package by `kfp.local`, each task in a container of the engine."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from google.protobuf import json_format
from kfp import components, local
from kfp.dsl.utils import COMPONENT_NAME_PREFIX
from kfp.local import docker_task_handler
from kfp.local.orchestrator.enhanced_dag_orchestrator import ConditionEvaluator
from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils
from podman_engine import CGROUP

from helpers.conditions import holds

# As strict as the image allows, by Docker's names.
HARDENED: dict[str, Any] = {
    # Docker would put the image's own entry point before the command; Kubernetes does not.
    "entrypoint": "/usr/bin/env",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "tmpfs": {"/tmp": "mode=1777"},
    "network_mode": "host",  # the object store is on loopback
    "cgroup_parent": f"/{CGROUP}",
}
USER = 1000  # of the image


@dataclass(frozen=True)
class TaskRun:
    """A container that has ended."""

    name: str
    seconds: float
    output: dict[str, Any]  # what the task says of its outputs: KFP's ExecutorOutput


def run_package(
    package: Path, root: Path, address: str, environment: Mapping[str, str]
) -> list[TaskRun]:
    """Runs all tasks, with the parameters' defaults.

    `environment` is what Kubernetes would take from secrets, which kfp.local does not read.
    """
    root.mkdir()
    os.chown(root, USER, USER)
    tasks: list[TaskRun] = []
    pipeline = components.load_component_from_file(str(package))
    local.init(
        local.DockerRunner(environment=dict(environment), **HARDENED),
        pipeline_root=str(root),
    )
    with (
        mock.patch.dict(os.environ, {"DOCKER_HOST": address}),
        _conditions_in_cel(pipeline.pipeline_spec),
        _completed(tasks, pipeline.pipeline_spec),
    ):
        pipeline()
    return tasks


@contextmanager
def _completed(tasks: list[TaskRun], spec: Any) -> Iterator[None]:
    """Does what kfp.local leaves out of each container: its variables, its time, its outputs.

    To kfp.local a container that is gone before it is asked for its status has succeeded.
    """
    run_container = docker_task_handler.run_docker_container
    # As kfp.local names their folders: less a prefix that KFP's own compiler gives.
    names = {name[len(COMPONENT_NAME_PREFIX) :]: name for name in spec.components}

    def completed(
        client: Any, image: str, command: list[str], environment: dict[str, str], **options: Any
    ) -> int:
        invocation = command[command.index("--json_serialized_invocation_args") + 1]
        file = Path(json.loads(invocation)["outputs"]["outputFile"])
        name = names[file.parent.name]
        variables = environment | _variables(spec, name)
        started = time.monotonic()
        status = run_container(client, image, command, environment=variables, **options)
        if status or not file.exists():
            return status or 1
        output = json.loads(file.read_text("utf-8"))
        tasks.append(TaskRun(name, time.monotonic() - started, output))
        return 0

    with mock.patch.object(docker_task_handler, "run_docker_container", completed):
        yield


def _variables(spec: Any, name: str) -> dict[str, str]:
    """Of a task's container in the package."""
    executors = json_format.MessageToDict(spec.deployment_spec)["executors"]
    container = executors[spec.components[name].executor_label]["container"]
    return {variable["name"]: variable["value"] for variable in container.get("env", [])}


@contextmanager
def _conditions_in_cel(spec: Any) -> Iterator[None]:
    """Decides by CEL over a task's inputs, as KFP's driver; kfp.local knows no inputs there."""
    tasks = {
        task.trigger_policy.condition: task
        for task in spec.root.dag.tasks.values()
        if task.trigger_policy.condition
    }

    def evaluate(condition: str, io_store: Any) -> bool:
        arguments = OrchestratorUtils.make_task_arguments(tasks[condition].inputs, io_store)
        artifacts = {
            key: {"artifacts": [{"uri": artifact.uri, "metadata": artifact.metadata}]}
            for key in tasks[condition].inputs.artifacts
            if (artifact := arguments[key])
        }
        return holds(condition, {"artifacts": artifacts})

    with mock.patch.object(ConditionEvaluator, "evaluate_condition", staticmethod(evaluate)):
        yield
