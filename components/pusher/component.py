"""Pusher, a TFX component that makes a blessed model the served version, completely or not at all.

TFX copies file by file into the version's folder, so that a killed run leaves half a version
there. It names the folder by the clock, so that after the clock was set back the new model gets a
lower number than the old one, which TensorFlow Serving then continues to serve.

It also gives the version what Export has made of the model, in the same rename.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tfx.components.pusher import component
from tfx.components.pusher import executor as tfx_executor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.proto import pusher_pb2
from tfx.types import Artifact, BaseChannel, Channel
from tfx.types.artifact_utils import get_single_instance
from tfx.types.component_spec import ChannelParameter
from tfx.types.experimental.simple_artifacts import File
from tfx.types.standard_artifacts import PushedModel
from tfx.types.standard_component_specs import (
    MODEL_KEY,
    PUSH_DESTINATION_KEY,
    PUSHED_MODEL_KEY,
)
from tfx.types.standard_component_specs import PusherSpec as TfxPusherSpec
from tfx.utils import json_utils, proto_utils

from inception_finetune.components.export.record import PUSHED_IN, RECORD, read_record
from inception_finetune.components.pusher.serving_folder import WITHDRAWN, publish, unfinished

EXPORTS_KEY: Final = "exports"


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
            _add_exports(input_dict.get(EXPORTS_KEY, ()), copied)
            version = publish(copied, serving)
        self._MarkPushed(pushed, pushed_destination=str(version), pushed_version=version.name)


def _add_exports(artifacts: Sequence[Artifact], version: Path) -> None:
    """Copies what Export has let pass, and what it has measured, into a version's folder."""
    for artifact in artifacts:
        source, target = Path(artifact.uri), version / PUSHED_IN
        target.mkdir(parents=True)
        for name in (*read_record(source).files.values(), RECORD):
            shutil.copyfile(source / name, target / name)


class PusherSpec(TfxPusherSpec):
    """TFX's inputs, and the exports."""

    INPUTS = {**TfxPusherSpec.INPUTS, EXPORTS_KEY: ChannelParameter(type=File, optional=True)}


class Pusher(component.Pusher):
    """TFX's Pusher with the executor of this module."""

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: BaseChannel,
        model_blessing: BaseChannel,
        push_destination: pusher_pb2.PushDestination,
        infra_blessing: BaseChannel | None = None,
        exports: BaseChannel | None = None,
    ) -> None:
        """Makes the node.

        Args:
          model: Trainer's.
          model_blessing: Evaluator's.
          push_destination: the folder of the versions.
          infra_blessing: InfraValidator's, where there is one.
          exports: Export's, where there is one.
        """
        spec = PusherSpec(
            model=model,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            exports=exports,
            push_destination=push_destination,
            custom_config=json_utils.dumps(None),
            pushed_model=Channel(type=PushedModel),
        )
        super(component.Pusher, self).__init__(spec=spec)
