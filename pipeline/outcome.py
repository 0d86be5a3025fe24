"""What a run did, read back from its metadata: steps, verdict, accuracy, pushed model."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from rich.console import Console
from rich.table import Table

from pipeline.config import Config
from pipeline.evaluation import ACCURACY, CROSS_ENTROPY, TOP_2_ACCURACY
from pipeline.inputs import metadata_file, serving_directory


@dataclass(frozen=True)
class Step:
    name: str
    cached: bool
    seconds: float  # of this run; 0 where the result was there already


@dataclass(frozen=True)
class Outcome:
    steps: tuple[Step, ...]
    blessed: bool
    metrics: dict[str, float]  # of the overall test slice
    refusals: tuple[str, ...]  # thresholds that failed, and by how much
    pushed: Path | None  # the version that serves now; None where this model was not pushed


def read_outcome(config: Config) -> Outcome:
    """The latest run of the pipeline `config.name`, cached steps included."""
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(metadata_file(config))
    store = mlmd.MetadataStore(connection)
    executions = _latest_run(store, config.name)
    outputs = _output_artifacts(store, executions)
    evaluation, blessing = outputs["evaluation"], outputs["blessing"]
    blessed = blessing.custom_properties["blessed"].int_value == 1
    return Outcome(
        steps=tuple(_step(store, execution) for execution in executions),
        blessed=blessed,
        metrics=_overall_metrics(evaluation.uri),
        refusals=() if blessed else tuple(_refusals(evaluation.uri)),
        pushed=_pushed_version(outputs.get("pushed_model")) if blessed else None,
    )


def latest_pushed(config: Config) -> Path | None:
    """The newest whole version below the serving directory: saved_model.pb is pushed last."""
    versions = serving_directory(config).glob("*/saved_model.pb")
    numbered = [path.parent for path in versions if path.parent.name.isdigit()]
    return max(numbered, key=lambda path: int(path.name), default=None)


def print_outcome(outcome: Outcome, config: Config, console: Console) -> None:
    table = Table(title=f"{config.name}: steps of this run", title_justify="left")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    table.add_column("")
    for step in outcome.steps:
        seconds = "" if step.cached else f"{step.seconds:.1f}"
        table.add_row(step.name, seconds, "[dim]cached[/]" if step.cached else "ran")
    console.print(table)
    for name, value in outcome.metrics.items():
        console.print(f"{name.replace('_', ' ')}: {value:.4f}", highlight=False)
    if outcome.blessed:
        console.print(
            f"[green]blessed[/]: accuracy {outcome.metrics[ACCURACY]:.4f} >= "
            f"{config.gate.min_accuracy}",
            highlight=False,
        )
        console.print(f"pushed: {outcome.pushed}", highlight=False, soft_wrap=True)


def _latest_run(
    store: mlmd.MetadataStore, pipeline_name: str
) -> list[metadata_store_pb2.Execution]:
    pipeline = store.get_context_by_type_and_name("pipeline", pipeline_name)
    newest = max(store.get_executions_by_context(pipeline.id), key=lambda execution: execution.id)
    run = _context(store, newest, "pipeline_run")
    return sorted(store.get_executions_by_context(run.id), key=lambda execution: execution.id)


def _context(
    store: mlmd.MetadataStore, execution: metadata_store_pb2.Execution, kind: str
) -> metadata_store_pb2.Context:
    contexts = store.get_contexts_by_execution(execution.id)
    return next(context for context in contexts if context.type == kind)


def _step(store: mlmd.MetadataStore, execution: metadata_store_pb2.Execution) -> Step:
    node = _context(store, execution, "node").name.rpartition(".")[2]
    cached = execution.last_known_state == metadata_store_pb2.Execution.CACHED
    elapsed = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    return Step(node, cached, elapsed / 1000)


def _output_artifacts(
    store: mlmd.MetadataStore, executions: list[metadata_store_pb2.Execution]
) -> dict[str, metadata_store_pb2.Artifact]:
    """Output key -> artifact, for the keys that only one step has."""
    outputs = {}
    for event in store.get_events_by_execution_ids([execution.id for execution in executions]):
        if event.type == metadata_store_pb2.Event.OUTPUT:
            key = event.path.steps[0].key
            with contextlib.suppress(IndexError):
                outputs[key] = store.get_artifacts_by_id([event.artifact_id])[0]
    return outputs


def _pushed_version(artifact: metadata_store_pb2.Artifact | None) -> Path | None:
    if artifact is None or artifact.custom_properties["pushed"].int_value != 1:
        return None
    return Path(artifact.custom_properties["pushed_destination"].string_value)


def _overall_metrics(uri: str) -> dict[str, float]:
    import tensorflow_model_analysis as tfma

    overall = next(row for row in tfma.load_metrics(uri) if not row.slice_key.single_slice_keys)
    # With a baseline, there are metrics of both models and of their difference.
    measured = {
        metric.key.name: metric.value.double_value.value
        for metric in overall.metric_keys_and_values
        if metric.key.model_name in ("", "candidate") and not metric.key.is_diff
    }
    return {name: measured[name] for name in (ACCURACY, TOP_2_ACCURACY, CROSS_ENTROPY)}


def _refusals(uri: str) -> list[str]:
    import tensorflow_model_analysis as tfma

    refusals = []
    for validation in tfma.load_validation_result(uri).metric_validations_per_slice:
        where = (
            ", ".join(
                f"{key.column}={_value(key)}" for key in validation.slice_key.single_slice_keys
            )
            or "overall"
        )
        for failure in validation.failures:
            refusals.append(_refusal(failure, where))
    return refusals


def _value(key) -> str:
    return str(getattr(key, key.WhichOneof("kind")))


def _refusal(failure, where: str) -> str:
    """One threshold: what it asks, what was measured, and the difference."""
    name, value = failure.metric_key.name, failure.metric_value.double_value.value
    threshold = failure.metric_threshold
    if threshold.HasField("change_threshold"):
        allowed = threshold.change_threshold.absolute.value
        return (
            f"{where} {name} must not fall more than {-allowed:g} below the last blessed model; "
            f"it changed by {value:+.4f}, {allowed - value:.4f} too much"
        )
    bound = threshold.value_threshold.lower_bound.value
    return (
        f"{where} {name} must be at least {bound:g}; it is {value:.4f}, {bound - value:.4f} short"
    )
