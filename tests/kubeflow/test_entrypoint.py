"""What a task's log says besides what TFX writes."""

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from helpers.reports import earliest
from inception_finetune.components.infra_validator.settings import RESULT, ServerCheck
from inception_finetune.kubeflow.entrypoint import Task

EVALUATOR = "tfx.components.evaluator.executor.Executor"


def _invocation(model, evaluation) -> dict:
    return {
        "inputs": {"artifacts": {"model": {"artifacts": [{"uri": str(model)}]}}},
        "outputs": {"artifacts": {"evaluation": {"artifacts": [{"uri": str(evaluation)}]}}},
    }


@pytest.mark.e2e
def test_evaluators_log_ends_with_the_verdict(smallest_config, first_run):
    invocation = _invocation(
        earliest(smallest_config, "Trainer", "model"),
        earliest(smallest_config, "Evaluator", "evaluation"),
    )
    *metrics, verdict = Task(EVALUATOR, invocation, {}).verdict_lines()
    assert f"accuracy: {first_run.metrics['accuracy']:.4f}" in metrics
    assert verdict == "blessed"


@pytest.mark.parametrize(
    ("refusal", "line"),
    [
        (None, "A real server answered 8 test pictures as the exported model did"),
        ("it ended.", "Refused, not pushed: it ended."),
    ],
)
def test_infra_validators_log_ends_with_what_came_of_the_check(tmp_path, refusal, line):
    found = ServerCheck(
        server="serve", refusal=refusal, oldest_serving="2.19", tolerance=0.01, pictures=8
    )
    kind = {"instanceSchema": "title: tfx.InfraBlessing\ntype: object\n"}
    blessing = {"uri": str(tmp_path), "type": kind}
    outputs = {"artifacts": {"blessing": {"artifacts": [blessing]}}}
    path = "inception_finetune.components.infra_validator.component.InfraValidator_Executor"
    task = Task(path, {"outputs": outputs | {"outputFile": str(tmp_path / "output")}}, {})
    task.prepare_outputs()
    assert task.verdict_lines() == []  # before the executor has run
    (tmp_path / RESULT).write_text(found.model_dump_json())
    [said] = task.verdict_lines()
    assert said.startswith(line)


def test_other_tasks_have_none():
    assert Task("tfx.components.transform.executor.Executor", {}, {}).verdict_lines() == []


def test_an_input_gets_the_type_that_kubeflows_driver_leaves_out(tmp_path):
    """As KFP 2.17 gives it, read by TFX's own entry point."""
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils
    from tfx.types import standard_artifacts

    session = '{"Provider":"minio","Params":{"secretName":"mlpipeline-minio-artifact"}}'
    given = {
        "name": "7",
        "uri": str(tmp_path),
        "type": {"instanceSchema": ""},
        "metadata": {"display_name": "model", "store_session_info": session},
    }
    schema = "title: tfx.Model\ntype: object\nproperties:\n"
    task = Task(
        EVALUATOR,
        {"inputs": {"artifacts": {"model": {"artifacts": [given]}}}},
        {"artifacts": {"model": {"artifactType": {"instanceSchema": schema}}}},
    )
    task.fetch_inputs()
    read = json_format.ParseDict(task.invocation, pipeline_spec_pb2.ExecutorInput())
    inputs = kubeflow_v2_entrypoint_utils.parse_raw_artifact_dict(read.inputs.artifacts)
    [model] = inputs["model"]
    assert isinstance(model, standard_artifacts.Model)
    assert model.uri == str(tmp_path)
    assert model.get_string_custom_property("store_session_info") == session
