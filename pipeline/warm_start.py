"""Which blessed model a training starts from."""

import json
import sys

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common.resolver import Resolver, ResolverStrategy
from tfx.types.standard_artifacts import Model, ModelBlessing

from inception_finetune.components.shown_text import visible
from inception_finetune.components.steps import Step
from inception_finetune.components.warm_start.start import (
    is_cold_turn,
    next_generation,
    require_same_network,
)
from inception_finetune.pipeline.baseline import exported, latest_blessed
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.runs import Run, newest_runs, open_store
from inception_finetune.pipeline.history.server_refusals import find_refused_models
from inception_finetune.pipeline.inputs import Inputs
from inception_finetune.trainer.settings import TrainerSettings


def last_blessed_start(
    transform_graph: types.BaseChannel, settings: TrainerSettings, cold_every: int
) -> Resolver:
    """Makes the node that resolves `LastBlessedStart`."""
    return Resolver(
        strategy_class=LastBlessedStart,
        config={"settings": settings.model_dump_json(), "cold_every": cold_every},
        model=types.Channel(type=Model),
        model_blessing=types.Channel(type=ModelBlessing),
        transform_graph=transform_graph,
    )


def require_fitting_start(config: Config, inputs: Inputs) -> None:
    """Refuses a last blessed model that a training cannot start from, before anything is computed.

    Of what a resolver raises, TFX makes no failure of the run.

    Raises:
      UserError: the model has another network, backbone, cut or image size.
    """
    if config.training.start_from != "blessed":
        return
    latest = _latest_blessed_run(config)
    if latest is None or is_cold_turn(latest.model_directory, config.training.cold_every or 0):
        return
    require_same_network(
        latest.model_directory,
        {
            "network": inputs.network,
            "backbone_fingerprint": inputs.backbone_fingerprint,
            "cut_before": config.backbone.trainable_from,
            "image_size": config.image.size,
        },
    )


def _latest_blessed_run(config: Config) -> Run | None:
    """The newest run whose model `latest_blessed` would find."""
    store = open_store(config)
    refused = set() if store is None else find_refused_models(store)
    for run in newest_runs(config):
        if run.blessed and not run.withdrawn:
            model = run.artifacts[Step.TRAINER, "model"]
            if model.id not in refused and model.state == metadata_store_pb2.Artifact.LIVE:
                return run
    return None


class LastBlessedStart(ResolverStrategy):
    """The model that a training starts from: the last blessed one, or none for a cold start.

    Where that model is the result of the very training that is asked for (same examples, same
    settings), it is what that training itself started from. So a run in which nothing has changed
    finds its results stored, instead of training a model further on pictures that it has seen.
    """

    def __init__(self, settings: str, cold_every: int = 0) -> None:
        """Prepares the strategy.

        Args:
          settings: a `TrainerSettings` as JSON.
          cold_every: each so many-th training starts cold; 0 for none.
        """
        self._settings = json.loads(settings)
        self._cold_every = cold_every

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        """Resolves to one `model` or none, and says which."""
        latest = latest_blessed(store, input_dict["model"], input_dict["model_blessing"])
        if latest["model"]:
            start = self._start(store, latest["model"][0], input_dict)
        else:
            start = []
            _say("no model of this root is blessed: a training starts from the backbone")
        return {**latest, "model": start, "transform_graph": input_dict["transform_graph"]}

    def _start(
        self,
        store: mlmd.MetadataStore,
        latest: types.Artifact,
        input_dict: dict[str, list[types.Artifact]],
    ) -> list[types.Artifact]:
        """Returns the model to start from, or none, where `latest` is the last blessed one."""
        execution = self._made_by(store, latest, input_dict["transform_graph"])
        if execution is not None:
            inputs = _inputs(store, execution).get("base_model", set())
            return [one for one in input_dict["model"] if one.id in inputs]
        if is_cold_turn(exported(latest), self._cold_every):
            _say(
                f"warm starts in a row so far: {next_generation(exported(latest)) - 1:,}; with "
                f"training.cold_every={self._cold_every} this training starts from the backbone"
            )
            return []
        return [latest]

    def _made_by(
        self,
        store: mlmd.MetadataStore,
        model: types.Artifact,
        transform_graph: list[types.Artifact],
    ) -> metadata_store_pb2.Execution | None:
        """Returns the execution of the training that is asked for, if it made `model`."""
        events = store.get_events_by_artifact_ids([model.id])
        ids = {event.execution_id for event in events if event.type == _OUTPUT}
        wanted = {artifact.id for artifact in transform_graph}
        for execution in store.get_executions_by_id(sorted(ids)):
            settings = execution.custom_properties["custom_config"].string_value
            if (
                _inputs(store, execution).get("transform_graph") == wanted
                and settings
                and json.loads(settings) == self._settings
            ):
                return execution
        return None


_INPUT, _OUTPUT = metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.OUTPUT


def _inputs(
    store: mlmd.MetadataStore, execution: metadata_store_pb2.Execution
) -> dict[str, set[int]]:
    """Returns the ids of an execution's input artifacts by key."""
    inputs: dict[str, set[int]] = {}
    for event in store.get_events_by_execution_ids([execution.id]):
        if event.type == _INPUT:
            inputs.setdefault(event.path.steps[0].key, set()).add(event.artifact_id)
    return inputs


def _say(line: str) -> None:
    print(visible(line), file=sys.stderr, flush=True)
