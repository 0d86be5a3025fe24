"""Pusher, a TFX component that makes a blessed model the served version, completely or not at all.

TFX copies file by file into the version's folder, so that a killed run leaves half a version
there. It names the folder by the clock, so that after the clock was set back the new model gets a
lower number than the old one, which TensorFlow Serving then continues to serve.
"""

from pathlib import Path
from typing import Any

from tfx.components.pusher import component
from tfx.components.pusher import executor as tfx_executor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.proto import pusher_pb2
from tfx.types import Artifact
from tfx.types.artifact_utils import get_single_instance
from tfx.types.standard_component_specs import MODEL_KEY, PUSH_DESTINATION_KEY, PUSHED_MODEL_KEY
from tfx.utils import proto_utils

from inception_finetune.components.pusher.serving_folder import WITHDRAWN, publish, unfinished


class Executor(tfx_executor.Executor):
    """TFX's executor, copying into a hidden folder that is then renamed to the version."""

    def Do(  # noqa: N802 - as TFX calls it
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model if it is blessed and was not withdrawn; arguments are TFX's."""
        pushed = get_single_instance(output_dict[PUSHED_MODEL_KEY])
        model = get_single_instance(input_dict[MODEL_KEY])
        if model.has_custom_property(WITHDRAWN) or not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[PUSH_DESTINATION_KEY], destination)
        serving = Path(destination.filesystem.base_directory)
        with unfinished(serving) as folder:
            destination.filesystem.base_directory = str(folder)
            elsewhere = {PUSH_DESTINATION_KEY: proto_utils.proto_to_json(destination)}
            super().Do(input_dict, output_dict, {**exec_properties, **elsewhere})
            [copied] = folder.iterdir()
            version = publish(copied, serving)
        self._MarkPushed(pushed, pushed_destination=str(version), pushed_version=version.name)


class Pusher(component.Pusher):
    """TFX's Pusher with the executor of this module."""

    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
