"""The runs of a pipeline, as its metadata store has them: steps, artifacts, configuration."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from inception_finetune.components.errors import UserError
from inception_finetune.components.export.record import RECORD, ExportRecord, read_record
from inception_finetune.components.features import SPANS
from inception_finetune.components.model_report.settings import TEST_USE
from inception_finetune.components.pusher.serving_folder import WITHDRAWN
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.inputs import metadata_file

_SERVING = "Format-Serving"  # TFX's folder of the SavedModel in a Model artifact
# Properties of a run's context.
_CONFIG = "config"  # the whole configuration as JSON
_ACCURACY = "accuracy"


@dataclass(frozen=True)
class StepRun:
    """One step of one run."""

    name: str
    cached: bool
    failed: bool
    seconds: float  # of this run; 0 where the result was there, or the clock was set back


@dataclass(frozen=True)
class Run:
    """One run of the pipeline."""

    number: int  # 1 is the pipeline's first
    name: str  # as TFX names it, after the time of its start
    started: datetime
    steps: tuple[StepRun, ...]
    artifacts: Mapping[tuple[str, str], metadata_store_pb2.Artifact]  # by step and output key
    accuracy: float | None  # on test; None where the run did not end
    config: Config | None  # None where it was not written down or is of another version

    @property
    def seconds(self) -> float:
        """Of all steps that were not cached."""
        return sum(step.seconds for step in self.steps if not step.cached)

    @property
    def stopped_at(self) -> str | None:
        """The step that failed, if one did."""
        return next((step.name for step in self.steps if step.failed), None)

    @property
    def blessed(self) -> bool | None:
        """None where the gate was not reached."""
        blessing = self.artifacts.get((Step.EVALUATOR, "blessing"))
        return None if blessing is None else blessing.custom_properties["blessed"].int_value == 1

    @property
    def test_use(self) -> int | None:
        """How many models were measured on its test pictures by then; None if not counted."""
        report = self.artifacts.get((Step.MODEL_REPORT, "model_report"))
        if report is None or TEST_USE not in report.custom_properties:
            return None
        return int(report.custom_properties[TEST_USE].int_value)

    @property
    def model_directory(self) -> Path:
        """The SavedModel that the run has trained, pushed or not."""
        return Path(self.uri(Step.TRAINER, "model")) / _SERVING

    @property
    def withdrawn(self) -> bool:
        """Whether `rollback` put an older model in the place of this run's."""
        model = self.artifacts.get((Step.TRAINER, "model"))
        return model is not None and WITHDRAWN in model.custom_properties

    @property
    def pushed(self) -> Path | None:
        """The pushed version; None where this run's model was not pushed, or was withdrawn."""
        return None if self.withdrawn else self.pushed_as

    @property
    def pushed_as(self) -> Path | None:
        """The version that this run's model was pushed as, withdrawn or not."""
        artifact = self.artifacts.get((Step.PUSHER, "pushed_model"))
        if artifact is None or not self.blessed:
            return None
        if artifact.custom_properties["pushed"].int_value != 1:
            return None
        return Path(artifact.custom_properties["pushed_destination"].string_value)

    @property
    def spans(self) -> Mapping[str, int]:
        """Pictures of each span that it was made of; empty where there are none, or not yet."""
        examples = self.artifacts.get((Step.EXAMPLE_GEN, "examples"))
        if examples is None or SPANS not in examples.custom_properties:
            return {}
        return dict(json.loads(examples.custom_properties[SPANS].string_value))

    @property
    def exports(self) -> ExportRecord | None:
        """What Export made of the model; None where it made nothing, or that was removed."""
        artifact = self.artifacts.get((Step.EXPORT, "exports"))
        if artifact is None or not Path(artifact.uri, RECORD).is_file():
            return None
        return read_record(Path(artifact.uri))

    def uri(self, step: str, key: str) -> str:
        """Where an output artifact lies.

        Raises:
          UserError: the run did not come to that step, or the artifact was removed.
        """
        artifact = self.artifacts.get((step, key))
        if artifact is None:
            raise UserError(
                f"Run {self.number} of {self.started:%Y-%m-%d %H:%M} did not reach {step}. "
                "Choose another run, or run again."
            )
        if not Path(artifact.uri).is_dir():
            raise UserError(
                f"Result of {step} of run {self.number} is gone: {artifact.uri} was removed, by "
                "`clean`, `data forget` or by hand. Choose another run, or run again."
            )
        return str(artifact.uri)


def read_runs(config: Config) -> list[Run]:
    """All runs of the pipeline `config.name`, oldest first.

    Raises:
      UserError: there is no run yet.
    """
    store, contexts = _opened(config)
    return [_read_run(store, context, number) for number, context in enumerate(contexts, start=1)]


def read_latest_run(config: Config) -> Run:
    """The newest run of the pipeline `config.name`; the others are not read.

    Raises:
      UserError: there is no run yet.
    """
    store, contexts = _opened(config)
    return _read_run(store, contexts[-1], len(contexts))


def newest_runs(config: Config) -> Iterator[Run]:
    """Reads the runs of the pipeline `config.name` one by one, the newest first; perhaps none."""
    store = open_store(config)
    contexts = [] if store is None else run_contexts(store, config.name)
    for number in range(len(contexts), 0, -1):
        assert store is not None
        yield _read_run(store, contexts[number - 1], number)


def _opened(config: Config) -> tuple[mlmd.MetadataStore, list[metadata_store_pb2.Context]]:
    """The metadata and the pipeline's runs in it, at least one."""
    store = open_store(config)
    contexts = [] if store is None else run_contexts(store, config.name)
    if store is None or not contexts:
        raise UserError(
            f"Pipeline {config.name} has no run in {metadata_file(config)}. "
            "Run `inception-finetune run` with the same --config first."
        )
    return store, contexts


def record(config: Config, since: datetime, accuracy: float | None = None) -> None:
    """Stores configuration and accuracy in the metadata of the run that began after `since`.

    TFX stores each step's parameters only. Stored here so that `review` need not import TFMA.
    """
    store = open_store(config)
    contexts = [] if store is None else run_contexts(store, config.name)
    if store is not None and contexts and _created(contexts[-1]) >= since:
        properties = contexts[-1].custom_properties
        properties[_CONFIG].string_value = config.model_dump_json()
        if accuracy is not None:
            properties[_ACCURACY].double_value = accuracy
        store.put_contexts([contexts[-1]])


def open_store(config: Config) -> mlmd.MetadataStore | None:
    """The pipeline's metadata; None where there is no file: the store would make one."""
    path = metadata_file(config)
    if not path.exists():
        return None
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(path)
    return mlmd.MetadataStore(connection)


def run_contexts(store: mlmd.MetadataStore, name: str) -> list[metadata_store_pb2.Context]:
    """The runs of the pipeline `name`, oldest first."""
    pipeline = store.get_context_by_type_and_name("pipeline", name)
    if pipeline is None:
        return []
    children = store.get_children_contexts_by_context(pipeline.id)
    runs = [context for context in children if context.type == "pipeline_run"]
    return sorted(runs, key=lambda context: int(context.id))


def _read_run(store: mlmd.MetadataStore, context: metadata_store_pb2.Context, number: int) -> Run:
    executions = {
        execution.id: execution for execution in store.get_executions_by_context(context.id)
    }
    nodes = {id_: _node(store, id_) for id_ in executions}
    outputs = {
        (nodes[event.execution_id], event.path.steps[0].key): event.artifact_id
        for event in store.get_events_by_execution_ids(list(executions))
        if event.type == metadata_store_pb2.Event.OUTPUT
    }
    artifacts = {
        artifact.id: artifact for artifact in store.get_artifacts_by_id(list(outputs.values()))
    }
    return Run(
        number=number,
        name=context.name,
        started=_created(context),
        steps=tuple(_step(executions[id_], nodes[id_]) for id_ in sorted(executions)),
        artifacts={key: artifacts[id_] for key, id_ in outputs.items() if id_ in artifacts},
        accuracy=(
            context.custom_properties[_ACCURACY].double_value
            if _ACCURACY in context.custom_properties
            else None
        ),
        config=_config(context),
    )


def _node(store: mlmd.MetadataStore, execution_id: int) -> str:
    contexts = store.get_contexts_by_execution(execution_id)
    return str(next(c.name for c in contexts if c.type == "node").rpartition(".")[2])


def _step(execution: metadata_store_pb2.Execution, node: str) -> StepRun:
    state = execution.last_known_state
    elapsed = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    return StepRun(
        name=node,
        cached=state == metadata_store_pb2.Execution.CACHED,
        failed=state == metadata_store_pb2.Execution.FAILED,
        seconds=max(elapsed, 0) / 1000,
    )


def _created(context: metadata_store_pb2.Context) -> datetime:
    return datetime.fromtimestamp(context.create_time_since_epoch / 1000, UTC)


def _config(context: metadata_store_pb2.Context) -> Config | None:
    text = context.custom_properties[_CONFIG].string_value
    try:
        return Config.model_validate_json(text) if text else None
    except ValueError:
        return None
