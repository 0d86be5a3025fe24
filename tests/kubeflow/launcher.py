"""Runs a compiled package task by task as Kubeflow's driver and launcher do, without a cluster.

The driver resolves a task's inputs from the package's DAG and names its outputs; the launcher
fills in the command's placeholders, runs it, and reads what the task says of its outputs. Both as
in `backend/src/v2` of kubeflow/pipelines 2.17: artifacts lose the types of their numbers in the
metadata store, inputs have an empty type, two properties are added to their metadata, and a log
with the number of the try is added to the outputs.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pipeline_spec

from helpers.conditions import holds

_IDS = itertools.count(1)  # of artifacts in the metadata store
# What the launcher notes of the store with each artifact; of a secret it is the name alone.
_SESSION = {
    "Provider": "minio",
    "Params": {
        "accessKeyKey": "accesskey",
        "disableSSL": "true",
        "endpoint": "seaweedfs.kubeflow:9000",
        "fromEnv": "false",
        "maxRetries": "5",
        "region": "minio",
        "secretKeyKey": "secretkey",
        "secretName": "mlpipeline-minio-artifact",
    },
}


class TaskError(Exception):
    """A task's command ended with another status than 0."""


@dataclass
class Task:
    name: str
    seconds: float
    outputs: dict[str, dict[str, Any]]  # RuntimeArtifact as JSON, by key
    log: str
    parameters: dict[str, Any] = field(default_factory=dict)  # outputs that are no artifacts
    cached: bool = False
    skipped: bool = False  # its condition did not hold


@dataclass
class Launcher:
    package: Path
    root: str  # pipeline root, such as s3://bucket/runs
    scratch: Path  # what stands for the pods' file systems
    environment: dict[str, str]  # of the cluster: what its secrets hold
    cache: dict[str, Task] = field(default_factory=dict)

    def __post_init__(self) -> None:
        documents = list(yaml.safe_load_all(self.package.read_text("utf-8")))
        self.spec = json_format.ParseDict(documents[0], pipeline_spec.PipelineSpec())
        self.deployment = json_format.ParseDict(
            documents[0]["deploymentSpec"], pipeline_spec.PipelineDeploymentConfig()
        )

    def execute(self, only: Collection[str] = (), **given: Any) -> dict[str, Task]:
        """Runs tasks in the order of the DAG.

        Args:
          only: these tasks and no others; by default all.
          given: values of the pipeline's parameters.
        """
        self.run = uuid.uuid4().hex[:8]
        parameters = self.parameters(given)
        done: dict[str, Task] = {}
        tasks = self.spec.root.dag.tasks
        order = {name: set(task.dependent_tasks) for name, task in tasks.items()}
        for name in TopologicalSorter(order).static_order():
            if only and name not in only:
                continue
            done[name] = self._execute(name, parameters, done)
            print(_row(done[name]), flush=True)
        return done

    def parameters(self, given: dict[str, Any] | None = None) -> dict[str, Any]:
        given = given or {}
        declared = self.spec.root.input_definitions.parameters
        if unknown := set(given) - set(declared):
            raise KeyError(f"the pipeline has no parameters {unknown}")
        return {
            name: given.get(name, json_format.MessageToDict(parameter.default_value))
            for name, parameter in declared.items()
        }

    def _execute(self, name: str, parameters: dict[str, Any], done: dict[str, Task]) -> Task:
        task = self.spec.root.dag.tasks[name]
        component = self.spec.components[task.component_ref.name]
        executor = self.deployment.executors[component.executor_label]
        if executor.WhichOneof("spec") != "container":
            raise NotImplementedError(f"{executor.WhichOneof('spec')} not implemented yet")
        executor_input = self._executor_input(name, task, component, parameters, done)
        condition = task.trigger_policy.condition
        if condition and not holds(condition, json_format.MessageToDict(executor_input.inputs)):
            return Task(name, 0.0, {}, "", skipped=True)
        words = [*executor.container.command, *executor.container.args]
        command = _filled_in(words, executor_input)
        key = _cache_key(executor_input, words)
        if task.caching_options.enable_cache and key in self.cache:
            return replace(self.cache[key], seconds=0.0, cached=True)
        started = time.monotonic()
        # A pod begins with nothing: another's files are not there, nor is our working tree.
        pod = self.scratch / "pod"
        shutil.rmtree(pod, ignore_errors=True)
        for folder in ("home", "tmp", "work"):
            (pod / folder).mkdir(parents=True)
        output_file = Path(executor_input.outputs.output_file)
        shutil.rmtree(output_file.parent, ignore_errors=True)
        output_file.parent.mkdir(parents=True)
        ran = subprocess.run(
            command,
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(pod / "home"),
                "TMPDIR": str(pod / "tmp"),
                **{variable.name: variable.value for variable in executor.container.env},
                **self.environment,
            },
            cwd=pod / "work",
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if ran.returncode:
            raise TaskError(f"{name} ended with {ran.returncode}:\n{ran.stdout[-6000:]}")
        said = json_format.Parse(output_file.read_text("utf-8"), pipeline_spec.ExecutorOutput())
        outputs, parameters = _outputs(executor_input, said), _parameters(component, said)
        self.cache[key] = Task(name, time.monotonic() - started, outputs, ran.stdout, parameters)
        return self.cache[key]

    def _executor_input(self, name, task, component, parameters, done):
        """What the driver resolves, as the proto that the launcher is given."""
        result = pipeline_spec.ExecutorInput()
        for key, source in task.inputs.parameters.items():
            kind = source.WhichOneof("kind")
            if kind == "component_input_parameter":
                value = parameters[source.component_input_parameter]
            elif kind == "runtime_value":
                value = json_format.MessageToDict(source.runtime_value.constant)
            elif kind == "task_output_parameter":
                produced = source.task_output_parameter
                assert produced.producer_task in task.dependent_tasks  # what Argo waits for
                value = done[produced.producer_task].parameters[produced.output_parameter_key]
            else:
                raise NotImplementedError(f"{name}: parameter {key} by {kind}")
            _check_type(key, value, component.input_definitions.parameters[key].parameter_type)
            json_format.ParseDict(value, result.inputs.parameter_values[key])
        for key, source in task.inputs.artifacts.items():
            produced = source.task_output_artifact
            artifact = done[produced.producer_task].outputs[produced.output_artifact_key]
            json_format.ParseDict(artifact, result.inputs.artifacts[key].artifacts.add())
        task_root = f"{self.root}/{self.spec.pipeline_info.name}/{self.run}/{name}/{uuid.uuid4()}"
        for key, artifact in component.output_definitions.artifacts.items():
            result.outputs.artifacts[key].artifacts.add(
                name=key,
                uri=f"{task_root}/{key}",
                type=artifact.artifact_type,
                metadata=artifact.metadata,
            )
        for key in component.output_definitions.parameters:
            file = self.scratch / "kfp" / name / "output_parameters" / key
            result.outputs.parameters[key].output_file = str(file)
        result.outputs.artifacts["executor-logs"].artifacts.add(
            name="executor-logs",
            uri=f"{task_root}/executor-logs-0",  # of the first try
            type=pipeline_spec.ArtifactTypeSchema(schema_title="system.Artifact"),
        )
        result.outputs.output_file = str(self.scratch / "kfp" / name / "output_metadata.json")
        return result


def _cache_key(executor_input, words) -> str:
    """As the driver's: where outputs go makes no difference, another input artifact does."""
    inputs = json_format.MessageToDict(executor_input.inputs)
    return json.dumps([inputs, list(words)], sort_keys=True)


def _check_type(key: str, value: Any, kind: int) -> None:
    """The driver's own rules; it knows no conversion but to text."""
    expected = {
        pipeline_spec.ParameterType.STRING: str,
        pipeline_spec.ParameterType.NUMBER_INTEGER: (int, float),
        pipeline_spec.ParameterType.NUMBER_DOUBLE: (int, float),
        pipeline_spec.ParameterType.BOOLEAN: bool,
    }[kind]
    if not isinstance(value, expected):
        raise TypeError(f"input parameter {key!r} type mismatch: {value!r}")


def _filled_in(words, executor_input) -> list[str]:
    """The launcher's `compileCmdAndArgs`: first the whole input, then single values in it too."""
    content = json_format.MessageToJson(executor_input, indent=None)
    values = {
        f"{{{{$.inputs.parameters['{key}']}}}}": _text(json_format.MessageToDict(value))
        for key, value in executor_input.inputs.parameter_values.items()
    }
    filled = []
    for word in words:
        word = word.replace("{{$}}", content)
        for placeholder, value in values.items():
            word = word.replace(placeholder, value)
        filled.append(word)
    return filled


def _text(value: Any) -> str:
    """As Go's `strconv.FormatFloat(value, 'f', -1, 64)` writes numbers."""
    if isinstance(value, float):
        return f"{value:.12f}".rstrip("0").rstrip(".")
    return str(value)


def _parameters(component, said) -> dict[str, Any]:
    """Output parameters by name; each must be there, with the type that was declared."""
    found = {key: json_format.MessageToDict(value) for key, value in said.parameter_values.items()}
    for key, declared in component.output_definitions.parameters.items():
        _check_type(key, found[key], declared.parameter_type)
    return found


def _outputs(executor_input, said) -> dict[str, dict[str, Any]]:
    """Outputs as the next task's driver finds them in the metadata store."""
    outputs = {}
    for key, artifacts in executor_input.outputs.artifacts.items():
        [artifact] = artifacts.artifacts
        if key in said.artifacts:
            [update] = said.artifacts[key].artifacts
            artifact.uri = update.uri or artifact.uri
            for name, value in update.metadata.fields.items():
                artifact.metadata.fields[name].CopyFrom(value)
        outputs[key] = json_format.MessageToDict(artifact)
        outputs[key]["type"] = {"instanceSchema": ""}
        outputs[key]["name"] = str(next(_IDS))
        added = {"display_name": key, "store_session_info": json.dumps(_SESSION)}
        outputs[key]["metadata"] = added | outputs[key].get("metadata", {})
    return outputs


def _row(task: Task) -> str:
    keys = ", ".join(key for key in task.outputs if key != "executor-logs")
    state = "skipped" if task.skipped else "cached" if task.cached else f"{task.seconds:.1f} s"
    return f"{task.name:<18} {state:>8}  {keys}"
