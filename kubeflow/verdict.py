"""The gate's verdict on a cluster: written into the package, and read from a run.

KFP's API shows a task's state and times, and nothing of its outputs. So the package lets Pusher
run only where Evaluator has blessed the model; where it has not, the run succeeds with Pusher
skipped, and that is what the API shows.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kubeflow.task_states import SKIPPED, SUCCEEDED, TaskState

if TYPE_CHECKING:
    from kfp.pipeline_spec import pipeline_spec_pb2

PUSHER = "Pusher"
# In CEL, over the ExecutorInput of Pusher. TFX writes numbers of metadata as doubles.
BLESSED = "inputs.artifacts['model_blessing'].artifacts[0].metadata['blessed'] == 1.0"


def push_only_when_blessed(spec: "pipeline_spec_pb2.PipelineSpec") -> None:
    """Changes `spec` so that Pusher is skipped where the model is not blessed."""
    spec.root.dag.tasks[PUSHER].trigger_policy.condition = BLESSED


def is_pushed(tasks: Iterable[TaskState]) -> bool | None:
    """Whether a run that succeeded has pushed its model; None where the API does not show it."""
    states = {task.name: task.state for task in tasks}
    return {SUCCEEDED: True, SKIPPED: False}.get(states.get(PUSHER, ""))
