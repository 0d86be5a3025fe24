"""The gate's verdict on a cluster: written into the package, and read from a run.

KFP's API shows a task's state and times, and nothing of its outputs. So the package lets Pusher
run only where Evaluator has blessed the model; where it has not, the run succeeds with Pusher
skipped, and that is what the API shows.
"""

from collections.abc import Iterable
from typing import Any

from inception_finetune.kubeflow.task_states import SKIPPED, SUCCEEDED, TaskState

PUSHER = "Pusher"
# In CEL, over the ExecutorInput of Pusher. TFX writes numbers of metadata as doubles.
BLESSED = "inputs.artifacts['model_blessing'].artifacts[0].metadata['blessed'] == 1.0"


def push_only_when_blessed(package: dict[str, Any]) -> None:
    """Changes a PipelineSpec so that Pusher is skipped where the model is not blessed."""
    package["root"]["dag"]["tasks"][PUSHER]["triggerPolicy"] = {"condition": BLESSED}


def is_pushed(tasks: Iterable[TaskState]) -> bool | None:
    """Whether a run that succeeded has pushed its model; None where the API does not show it."""
    states = {task.name: task.state for task in tasks}
    return {SUCCEEDED: True, SKIPPED: False}.get(states.get(PUSHER, ""))
