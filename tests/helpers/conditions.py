"""Conditions of tasks, as KFP's driver evaluates them: in CEL, over a task's inputs."""

from typing import Any

import celpy


def holds(condition: str, inputs: dict[str, Any]) -> bool:
    """`inputs` are those of ExecutorInput, as JSON."""
    environment = celpy.Environment()
    program = environment.program(environment.compile(condition))
    return bool(program.evaluate({"inputs": celpy.json_to_cel(inputs)}))
