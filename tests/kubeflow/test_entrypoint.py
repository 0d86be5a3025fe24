"""What a task's log says besides what TFX writes."""

import pytest

from helpers.reports import earliest
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


def test_other_tasks_have_none():
    assert Task("tfx.components.transform.executor.Executor", {}, {}).verdict_lines() == []
