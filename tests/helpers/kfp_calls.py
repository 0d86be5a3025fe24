"""A small package, and calls of ``inception-finetune kubeflow`` against the stub of the API."""

from pathlib import Path

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from inception_finetune.kubeflow.task_states import push_only_when_blessed

TOKEN = "a-token-that-nobody-must-see"
TASKS = ("ImportExampleGen", "Trainer", "Evaluator", "Pusher")


def write_package(path: Path, image: str = "image@sha256:1") -> Path:
    """Four tasks in a row, with a parameter of each kind."""
    spec = pipeline_spec_pb2.PipelineSpec(schema_version="2.1.0", sdk_version="tfx-1.21.0")
    spec.pipeline_info.name = "digits"
    spec.default_pipeline_root = "gs://bucket/root"
    kinds = pipeline_spec_pb2.ParameterType
    parameters = spec.root.input_definitions.parameters
    parameters["learning_rate"].parameter_type = kinds.NUMBER_DOUBLE
    parameters["learning_rate"].default_value.number_value = 0.001
    parameters["steps"].parameter_type = kinds.NUMBER_INTEGER
    parameters["steps"].default_value.number_value = 100
    parameters["every_class"].parameter_type = kinds.BOOLEAN
    parameters["every_class"].default_value.bool_value = False
    parameters["data"].parameter_type = kinds.STRING
    parameters["classes"].parameter_type = kinds.LIST
    parameters["classes"].is_optional = True
    before: list[str] = []
    executors = {}
    for name in TASKS:
        task = spec.root.dag.tasks[name]
        task.task_info.name = name
        task.component_ref.name = name
        task.dependent_tasks.extend(before)
        before = [name]
        spec.components[name].executor_label = f"{name}_executor"
        executors[f"{name}_executor"] = {"container": {"image": image, "command": ["true"]}}
    spec.deployment_spec.update({"executors": executors})
    content = json_format.MessageToDict(spec)
    push_only_when_blessed(content)
    path.write_text(yaml.safe_dump(content))
    return path


def nodes(**states: str) -> dict[str, str]:
    """Argo's nodes for tasks in these states, with those that stand around them."""
    made = {"digits-x7k2p": "RUNNING", "root-driver": "SUCCEEDED", "root": "RUNNING"}
    for name, state in states.items():
        made[f"{name}-driver"] = "SUCCEEDED"
        made[name] = state
        if state != "SKIPPED":
            made["executor"] = state
    return made


def assert_one_line(result: tuple[int, str, str], *parts: str) -> None:
    status, out, err = result
    assert (status, out) == (1, "")
    assert err.startswith("error: ") and err.count("\n") == 1, err
    for part in parts:
        assert part in err
