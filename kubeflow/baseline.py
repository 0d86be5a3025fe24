"""The pushed model that a candidate is compared with, without a resolver.

Kubeflow's open-source backend implements no resolver tasks.
"""

import hashlib
import shutil
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Model
from tfx.utils import path_utils

from inception_finetune.components.evaluation.label_names import why_incomparable
from inception_finetune.components.export.record import PUSHED_IN
from inception_finetune.kubeflow import storage

ABSENT = "absent"  # property of an artifact without content; tasks do not receive it

_GRAPH = "saved_model.pb"


@component
def PushedBaseline(  # noqa: N802 - TFX component names are classes' names
    candidate: InputArtifact[Model],
    model: OutputArtifact[Model],
    incomparable_model: OutputArtifact[Model],
    pushed: Parameter[str],
) -> None:
    """Finds the newest pushed version that is not the candidate itself.

    An output without a version is marked as absent; in the first run both are.

    Args:
      candidate: the model that Trainer has exported.
      model: output; the version, if it knows the candidate's classes.
      incomparable_model: output; the version, if it knows other classes.
      pushed: folder of the pushed versions.

    Raises:
      UserError: the store refuses.
    """
    exported = Path(path_utils.serving_model_path(candidate.uri))
    folder = latest_other(exported, pushed)
    comparable = folder is not None and why_incomparable(exported, folder) is None
    for output, wanted in ((model, comparable), (incomparable_model, not comparable)):
        if folder is None or not wanted:
            output.set_int_custom_property(ABSENT, 1)
        else:
            copy = Path(path_utils.serving_model_dir(output.uri))
            shutil.copytree(folder, copy, dirs_exist_ok=True)
            shutil.rmtree(copy / PUSHED_IN, ignore_errors=True)  # they are not compared


def latest_other(candidate: Path, pushed: str) -> Path | None:
    """Copies the newest complete version whose content is not the candidate's.

    Args:
      candidate: folder of the candidate's SavedModel.
      pushed: folder of the pushed versions, on this machine or in an object store.

    Returns:
      Folder of the copied SavedModel; None if there is no such version.

    Raises:
      UserError: the store refuses.
    """
    parts = (path.partition("/") for path in storage.find(pushed))
    versions = [int(name) for name, _, file in parts if name.isdigit() and file == _GRAPH]
    itself = _fingerprint(candidate)
    for version in sorted(versions, reverse=True):
        folder = Path(storage.fetch(f"{pushed}/{version}"))
        if _fingerprint(folder) != itself:
            return folder
    return None


def _fingerprint(model: Path) -> str:
    """sha256 of the variables' and the graph's bytes."""
    digest = hashlib.sha256()
    for path in sorted([model / _GRAPH, *model.glob("variables/*")]):
        digest.update(f"{path.relative_to(model)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
