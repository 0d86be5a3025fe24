"""What Pipelines' pages draw, as KFP's own classes read what tasks say of their outputs."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp import dsl
from kfp.local.executor_output_utils import (
    get_outputs_from_executor_output,
    load_executor_output,
)
from kfp.pipeline_spec import pipeline_spec_pb2

from helpers.reports import dense, earliest
from inception_finetune.components.model_report.facts import Facts
from inception_finetune.kubeflow import visualizations
from inception_finetune.kubeflow.entrypoint import Task

EXECUTORS = {
    "Evaluator": "tfx.components.evaluator.executor.Executor",
    "ModelReport": "inception_finetune.components.model_report.component.ModelReport_Executor",
}
TYPES = {"model": "tfx.Model", "evaluation": "tfx.ModelEvaluation", "model_report": "tfx.File"}
# As a real cluster gives an input: without its type, and with what its launcher has added.
SESSION = {
    "display_name": "model",
    "store_session_info": '{"Provider":"minio","Params":{"fromEnv":"false","endpoint":"s:9000"}}',
}


def artifact_type(key: str) -> dict[str, Any]:
    return {"artifactType": {"instanceSchema": f"title: {TYPES[key]}\ntype: object\n"}}


def declared(step: str, key: str) -> pipeline_spec_pb2.ComponentSpec:
    """A component with one output of TFX, and those that are added."""
    package: dict[str, Any] = {
        "components": {
            name: {"outputDefinitions": {"artifacts": {key: artifact_type(key)}}}
            for name in EXECUTORS
        },
        "root": {"dag": {"tasks": {name: {"componentRef": {"name": name}} for name in EXECUTORS}}},
    }
    visualizations.declare(package)
    return json_format.ParseDict(package["components"][step], pipeline_spec_pb2.ComponentSpec())


def ran(step: str, key: str, inputs: dict[str, Path], output: Path, folder: Path) -> dict[str, Any]:
    """What KFP makes of the outputs of a task whose executor has written `output`."""
    component = declared(step, key)
    given = pipeline_spec_pb2.ExecutorInput()
    for name, path in inputs.items():
        artifact = given.inputs.artifacts[name].artifacts.add(name="7", uri=str(path))
        artifact.type.instance_schema = ""
        artifact.metadata.update(SESSION)
    for name, definition in component.output_definitions.artifacts.items():
        given.outputs.artifacts[name].artifacts.add(
            name=name,
            uri=str(output if name == key else folder / name),
            type=definition.artifact_type,
        )
    logs = given.outputs.artifacts["executor-logs"].artifacts.add(uri=f"{folder}/executor-logs-0")
    logs.type.schema_title = "system.Artifact"
    given.outputs.output_file = str(folder / "executor_output.json")
    spec = {"artifacts": {name: artifact_type(name) for name in inputs}}
    task = Task(EXECUTORS[step], json_format.MessageToDict(given), spec)
    task.fetch_inputs()
    task.prepare_outputs()
    assert set(task.invocation["outputs"]["artifacts"]) == {key}  # that TFX knows
    said = {"artifacts": {key: {"artifacts": [{"name": "7", "uri": str(output)}]}}}
    Path(given.outputs.output_file).write_text(json.dumps(said))
    task.publish({})
    assert not (folder / "metrics").exists()
    return get_outputs_from_executor_output(
        load_executor_output(given.outputs.output_file), given, component
    )


@pytest.mark.e2e
def test_evaluators_metrics(smallest_config, first_run, tmp_path):
    outputs = ran(
        "Evaluator",
        "evaluation",
        {"model": earliest(smallest_config, "Trainer", "model")},
        earliest(smallest_config, "Evaluator", "evaluation"),
        tmp_path,
    )
    assert set(outputs) == {"evaluation", "metrics"}
    assert type(outputs["metrics"]) is dsl.Metrics
    measured = {"example_count": 360, **first_run.metrics}
    assert outputs["metrics"].metadata == pytest.approx(measured)


@pytest.mark.e2e
def test_the_confusion_matrix_and_the_page_of_the_report(smallest_config, first_run, tmp_path):
    report = earliest(smallest_config, "ModelReport", "model_report")
    outputs = ran("ModelReport", "model_report", {}, report, tmp_path)
    facts = Facts.model_validate_json((report / "facts.json").read_text())
    matrix = outputs["confusion_matrix"]
    assert type(matrix) is dsl.ClassificationMetrics
    shown = matrix.metadata["confusionMatrix"]
    names = [one["displayName"] for one in shown["annotationSpecs"]]
    assert names == list(facts.label_names) and len(names) == 10
    assert [row["row"] for row in shown["rows"]] == dense(facts).tolist()
    page = outputs["report_page"]
    assert type(page) is dsl.HTML
    assert page.uri == f"{report}/report.html" and Path(page.uri).is_file()


@pytest.mark.e2e
def test_a_matrix_of_many_classes_is_left_out_and_said(
    smallest_config, first_run, tmp_path, capsys
):
    report = earliest(smallest_config, "ModelReport", "model_report")
    facts = Facts.model_validate_json((report / "facts.json").read_text())
    many = facts.model_copy(update={"label_names": tuple(f"class {n}" for n in range(1041))})
    (tmp_path / "facts.json").write_text(many.model_dump_json())
    assert visualizations.confusion_matrix(tmp_path) == {}
    assert capsys.readouterr().out == (
        "confusion matrix: left out of Pipelines' pages, since 1,041 classes are more than 40; "
        "the report has the pairs\n"
    )


def test_what_was_not_measured_is_no_metric(capsys):
    """NaN and infinity are no JSON; KFP's launcher would refuse the whole file."""
    made = visualizations.metrics({"recall": float("nan"), "accuracy": 0.5, "a": float("inf")})
    assert made == {"metadata": {"accuracy": 0.5}}
    assert capsys.readouterr().out.splitlines() == [
        "a: left out of Pipelines' pages, since it is inf",
        "recall: left out of Pipelines' pages, since it is nan",
    ]
