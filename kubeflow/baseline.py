"""The pushed model that a candidate is compared with or starts from, without a resolver.

Kubeflow's open-source backend implements no resolver tasks.
"""

import hashlib
import json
import shutil
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Model
from tfx.utils import path_utils

from inception_finetune.components.evaluation.label_names import why_incomparable
from inception_finetune.components.export.record import PUSHED_IN
from inception_finetune.components.warm_start.start import is_cold_turn, require_same_network
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
    _write(model, folder if comparable else None)
    _write(incomparable_model, None if comparable else folder)


@component
def PushedStart(  # noqa: N802 - TFX component names are classes' names
    model: OutputArtifact[Model],
    pushed: Parameter[str],
    settings: Parameter[str],
    cold_every: Parameter[int],
) -> None:
    """Finds the newest pushed version for the training to start from.

    The output is marked as absent where the training starts from the backbone.

    Args:
      model: output; the version.
      pushed: folder of the pushed versions.
      settings: of the training, as JSON; of them network, backbone, cut and size count.
      cold_every: each so many-th training starts from the backbone; 0 for none.

    Raises:
      UserError: the store refuses, or the version has another network, backbone, cut or size.
    """
    folder = latest_other(None, pushed)
    if folder is not None and is_cold_turn(folder, cold_every):
        folder = None
    if folder is not None:
        require_same_network(folder, json.loads(settings))
    _write(model, folder)
    found = "the backbone" if folder is None else f"pushed version {folder.name}"
    print(f"the training starts from {found}", flush=True)


def _write(output: Model, folder: Path | None) -> None:
    if folder is None:
        output.set_int_custom_property(ABSENT, 1)
    else:
        copy = Path(path_utils.serving_model_dir(output.uri))
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        shutil.rmtree(copy / PUSHED_IN, ignore_errors=True)  # exports are no part of the model


def latest_other(candidate: Path | None, pushed: str) -> Path | None:
    """Copies the newest complete version whose content is not the candidate's.

    Args:
      candidate: folder of the candidate's SavedModel; None where there is none yet.
      pushed: folder of the pushed versions, on this machine or in an object store.

    Returns:
      Folder of the copied SavedModel; None if there is no such version.

    Raises:
      UserError: the store refuses.
    """
    parts = (path.partition("/") for path in storage.find(pushed))
    versions = [int(name) for name, _, file in parts if name.isdigit() and file == _GRAPH]
    itself = candidate and _fingerprint(candidate)
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
