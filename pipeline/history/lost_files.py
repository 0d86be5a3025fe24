"""Results of earlier runs that have lost files since: TFX would reuse them as they are.

TFX reuses a step's result where its folder is there, whatever is left in it, and takes a model for
pushed wherever it was pushed to. So each run writes down which files its results consist of, and
the next one holds the disk to it.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.runs import open_store, run_contexts

_FILES = "files"  # property of a run's context: artifact id -> path -> bytes, as JSON
_LIVE, _DELETED = metadata_store_pb2.Artifact.LIVE, metadata_store_pb2.Artifact.DELETED


def invalidate_artifacts_with_missing_files(config: Config) -> list[str]:
    """Has results that have lost files made again where they are needed; names one file of each.

    They are marked as deleted, so that TFX neither reuses them nor compares a model with them.

    Raises:
      UserError: there are results that the metadata do not know.
    """
    artifacts = Path(config.root).resolve() / "artifacts"
    store = open_store(config)
    if store is None:
        _refuse_unknown(artifacts, newest=0)
        return []
    newest = store.get_executions(mlmd.ListOptions(1, mlmd.OrderByField.ID, is_asc=False))
    _refuse_unknown(artifacts, newest=max((execution.id for execution in newest), default=0))
    files = _files(run_contexts(store, config.name))
    lost, named = [], []
    for artifact in store.get_artifacts_by_id([int(id_) for id_ in files]):
        missing = _missing(files[str(artifact.id)])
        if artifact.state == _LIVE and missing:
            artifact.state = _DELETED
            lost.append(artifact)
            named.append(missing)
    if lost:
        store.put_artifacts(lost)
    return named


def record_artifact_files(config: Config) -> None:
    """Of all results that the newest run made, and those that it reused and nobody wrote down."""
    store = open_store(config)
    runs = [] if store is None else run_contexts(store, config.name)
    if store is None or not runs:
        return
    known = _files(runs)
    files = {
        str(artifact.id): {str(path): size for path, size in _sizes(_places(artifact))}
        for artifact in store.get_artifacts_by_context(runs[-1].id)
        if artifact.state == _LIVE and str(artifact.id) not in known
    }
    files_of_run = _files(runs[-1:]) | files  # perhaps the newest run is an older one
    runs[-1].custom_properties[_FILES].string_value = json.dumps(files_of_run)
    store.put_contexts([runs[-1]])


def lost_file(
    store: mlmd.MetadataStore, name: str, artifact: metadata_store_pb2.Artifact
) -> str | None:
    """Returns a file of a result that is gone or of another size; None where all are there.

    Args:
      store: the metadata.
      name: of the pipeline.
      artifact: the result.
    """
    return _missing(_files(run_contexts(store, name)).get(str(artifact.id), {}))


def _refuse_unknown(artifacts: Path, newest: int) -> None:
    """New results would come to lie among theirs: TFX numbers folders by the executions."""
    folders = [path for path in artifacts.glob("*/*/*") if not path.parent.name.startswith(".")]
    unknown = [path for path in folders if path.name.isdecimal() and int(path.name) > newest]
    if unknown:
        raise UserError(
            f"{len(unknown)} results in {artifacts} are unknown to metadata.sqlite beside it, "
            "which was lost or comes from an old copy. Put the right one back, or move "
            f"{artifacts} away to have all made again (what was pushed still serves)."
        )


def _files(runs: Iterable[metadata_store_pb2.Context]) -> dict[str, dict[str, int]]:
    files: dict[str, dict[str, int]] = {}
    for run in runs:
        files |= json.loads(run.custom_properties[_FILES].string_value or "{}")
    return files


def _places(artifact: metadata_store_pb2.Artifact) -> list[Path]:
    """Where an artifact's files lie; a pushed model's are those that serve."""
    pushed = artifact.custom_properties["pushed_destination"].string_value
    return [Path(place).resolve() for place in (artifact.uri, pushed) if place]


def _sizes(places: Iterable[Path]) -> Iterable[tuple[Path, int]]:
    for place in places:
        for path in [place, *sorted(place.rglob("*"))]:
            if path.is_file():
                yield path, path.stat().st_size


def _missing(files: dict[str, int]) -> str | None:
    """One of the files that are not there as they were."""
    for name, size in files.items():
        path = Path(name)
        if not path.is_file() or path.stat().st_size != size:
            return name
    return None
