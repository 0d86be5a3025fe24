"""Removes what old runs have left, and says so in the metadata."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.failure import as_user_error
from inception_finetune.pipeline.history.runs import open_store
from inception_finetune.pipeline.inputs import metadata_file
from inception_finetune.pipeline.locks import pipeline_lock

_DELETED = metadata_store_pb2.Artifact.DELETED


@dataclass(frozen=True)
class Cleaned:
    """What a cleaning did."""

    removed: int  # artifacts
    freed: int  # bytes
    kept: int  # artifacts
    elsewhere: int  # artifacts that do not lie in the root's own folder, and stay


def clean(config: Config, keep: int) -> Cleaned:
    """Keeps what the newest `keep` runs made or reused; of older runs, blessed and pushed models.

    What was pushed to the serving folder is never touched. An artifact is marked as deleted before
    its files go, so that TFX never reuses one that is not whole, wherever this may be stopped; the
    next cleaning finishes it.

    Raises:
      UserError: there is no pipeline, another process works on it, or files cannot be removed.
    """
    root = Path(config.root).resolve()
    with as_user_error():
        store = open_store(config)
        if store is None:
            raise UserError(
                f"No {metadata_file(config).name} in {root}: no pipeline has run there. "
                "Give the root=DIRECTORY of one that has."
            )
        with pipeline_lock(root):
            return _clean(store, config.name, (root / "artifacts").resolve(), keep)


def _clean(store: mlmd.MetadataStore, name: str, artifacts: Path, keep: int) -> Cleaned:
    pipeline = store.get_context_by_type_and_name("pipeline", name)
    if pipeline is None:
        raise UserError(
            f"No pipeline {name} in the metadata. Give its name=NAME and root=DIRECTORY."
        )
    ours = {execution.id for execution in store.get_executions_by_context(pipeline.id)}
    used = _used(store, ours, keep) | _blessed_and_pushed(store)
    recorded = [
        artifact
        for artifact in store.get_artifacts_by_context(pipeline.id)
        if artifact.state != _DELETED or Path(artifact.uri).exists()
    ]
    made = [artifact for artifact in recorded if lies_in(artifacts, Path(artifact.uri))]
    kept = {artifact.uri for artifact in made if artifact.id in used}
    old = [artifact for artifact in made if artifact.id not in used and artifact.uri not in kept]
    for artifact in old:
        artifact.state = _DELETED
    if old:
        store.put_artifacts(old)
    freed = 0
    for folder in {Path(artifact.uri) for artifact in old}:
        if folder.exists():
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder)
    return Cleaned(len(old), freed, len(kept), len(recorded) - len(made))


def lies_in(artifacts: Path, folder: Path) -> bool:
    """Whether an artifact lies where the pipeline has put it, and is not a link to another place.

    Its path is as the run was given it, perhaps relative, or through a link to the whole root.
    """
    place = folder.resolve()
    if artifacts not in place.parents:
        return False
    inside = place.relative_to(artifacts).parts
    return folder.parts[-len(inside) :] == inside


def _used(store: mlmd.MetadataStore, ours: set[int], keep: int) -> set[int]:
    """Ids of the artifacts that the newest `keep` runs read or wrote, cached steps included.

    What other pipelines in the same metadata use is in it too.
    """
    runs = sorted(store.get_contexts_by_type("pipeline_run"), key=lambda run: run.id)
    by_run = [{step.id for step in store.get_executions_by_context(run.id)} for run in runs]
    newest = [steps for steps in by_run if steps & ours][-keep:]
    others = [steps - ours for steps in by_run]
    executions = sorted(set().union(*newest, *others))
    return {event.artifact_id for event in store.get_events_by_execution_ids(executions)}


def _blessed_and_pushed(store: mlmd.MetadataStore) -> set[int]:
    """Ids of models that any gate has blessed, with their blessings, and of pushed models."""
    found = set()
    for blessing in store.get_artifacts_by_type("ModelBlessing"):
        if blessing.custom_properties["blessed"].int_value == 1:
            found |= {blessing.id, blessing.custom_properties["current_model_id"].int_value}
    for pushed in store.get_artifacts_by_type("PushedModel"):
        if pushed.custom_properties["pushed"].int_value == 1:
            found.add(pushed.id)
    return found
