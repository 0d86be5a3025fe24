"""Puts the model of an older version into service again, as the newest version."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from inception_finetune.components.errors import UserError
from inception_finetune.components.pusher.serving_folder import WITHDRAWN, publish, unfinished
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.failure import as_user_error
from inception_finetune.pipeline.history.lost_files import lost_file
from inception_finetune.pipeline.history.outcome import latest_pushed
from inception_finetune.pipeline.history.runs import Run, open_store, read_runs
from inception_finetune.pipeline.inputs import serving_directory
from inception_finetune.pipeline.locks import pipeline_lock

_TYPE: Final = "inception_finetune.Rollback"  # of the execution that records one
_RESTORED, _VERSION = "restored", "version"


@dataclass(frozen=True)
class Rollback:
    """One that was carried out."""

    when: datetime
    restored: str  # number of the version whose model serves again
    version: str  # number that it serves as since then


def roll_back(config: Config, version: str | None) -> Rollback:
    """Pushes an older version once more.

    Servers take the highest number, so the model is copied to a new one, and the versions that are
    there stay. Models that were pushed after it are marked as withdrawn: the gate compares new ones
    with the model in service, and an unchanged run does not push a withdrawn one again.

    Args:
      config: of the pipeline.
      version: number of the version; None chooses the one before that which serves.

    Raises:
      UserError: there is no such version, it serves already, it lost files, another process works
        on the pipeline, or the copy cannot be written.
    """
    with as_user_error(), pipeline_lock(Path(config.root)):
        runs = {run.pushed_as.name: run for run in read_runs(config) if run.pushed_as}
        store = open_store(config)
        assert store is not None  # it has runs
        chosen = _choose(config, runs, version)
        _require_whole(store, config, runs[chosen])
        serving = serving_directory(config)
        with unfinished(serving) as folder:
            copied = folder / chosen
            shutil.copytree(serving / chosen, copied)
            fresh = publish(copied, serving)
        return _record(store, config, runs, chosen, fresh.name)


def read_rollbacks(config: Config) -> list[Rollback]:
    """Returns those of the pipeline, oldest first."""
    store = open_store(config)
    pipeline = store and store.get_context_by_type_and_name("pipeline", config.name)
    if not store or not pipeline:
        return []
    ours = {execution.id for execution in store.get_executions_by_context(pipeline.id)}
    return [
        _rollback(execution)
        for execution in sorted(store.get_executions_by_type(_TYPE), key=lambda one: int(one.id))
        if execution.id in ours
    ]


def as_pushed(config: Config, version: Path) -> Path:
    """Returns the version that a run pushed, where a rollback made a copy of it.

    Args:
      config: of the pipeline.
      version: folder of a SavedModel.
    """
    restored = {one.version: one.restored for one in read_rollbacks(config)}
    place = version.resolve()
    if place.parent == serving_directory(config) and place.name in restored:
        return place.with_name(restored[place.name])
    return place


def _choose(config: Config, runs: Mapping[str, Run], version: str | None) -> str:
    newest = latest_pushed(config)
    serves = newest and as_pushed(config, newest).name
    there = [one for one in runs if (serving_directory(config) / one).is_dir()]
    known = ", ".join(sorted(there, key=int)) or "none"
    if version is None:
        older = [one for one in there if serves and int(one) < int(serves)]
        if not older:
            raise UserError(
                f"No version before {serves} in {serving_directory(config)} to roll back to. "
                "Give a version (`inception-finetune review` lists them), or run again."
            )
        return max(older, key=int)
    if version not in there:
        raise UserError(
            f"Version {version} is none that a run of {config.name} pushed to "
            f"{serving_directory(config)} and that is there: {known}. Give one of these."
        )
    if version == serves:
        raise UserError(f"Version {version} serves already. Give another: {known}.")
    return version


def _require_whole(store: mlmd.MetadataStore, config: Config, run: Run) -> None:
    if lost := lost_file(store, config.name, run.artifacts[Step.PUSHER, "pushed_model"]):
        raise UserError(
            f"Model of run {run.number} cannot serve again: {lost} is gone or changed since it was "
            "pushed. Give another version."
        )


def _record(
    store: mlmd.MetadataStore, config: Config, runs: Mapping[str, Run], chosen: str, fresh: str
) -> Rollback:
    """Writes the rollback and the withdrawn models to the metadata, in one transaction."""
    execution = metadata_store_pb2.Execution(
        type_id=store.put_execution_type(metadata_store_pb2.ExecutionType(name=_TYPE)),
        last_known_state=metadata_store_pb2.Execution.COMPLETE,
    )
    execution.custom_properties[_RESTORED].string_value = chosen
    execution.custom_properties[_VERSION].string_value = fresh
    now = int(datetime.now(UTC).timestamp() * 1000)
    models = []
    for version, run in runs.items():
        model = run.artifacts[Step.TRAINER, "model"]
        if int(version) > int(chosen):
            model.custom_properties[WITHDRAWN].int_value = now
        else:
            model.custom_properties.pop(WITHDRAWN, None)
        event = metadata_store_pb2.Event(type=metadata_store_pb2.Event.INPUT)
        event.path.steps.add().key = version
        models.append((model, event))
    pipeline = store.get_context_by_type_and_name("pipeline", config.name)
    execution_id, _, _ = store.put_execution(execution, models, [pipeline])
    [written] = store.get_executions_by_id([execution_id])
    return _rollback(written)


def _rollback(execution: metadata_store_pb2.Execution) -> Rollback:
    return Rollback(
        when=datetime.fromtimestamp(execution.create_time_since_epoch / 1000, UTC),
        restored=execution.custom_properties[_RESTORED].string_value,
        version=execution.custom_properties[_VERSION].string_value,
    )
