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

from kubeflow import storage

ABSENT = "absent"  # property of an artifact that holds nothing; readers are not given it

_GRAPH = "saved_model.pb"


@component
def PushedBaseline(  # noqa: N802 - TFX component names are classes' names
    candidate: InputArtifact[Model], model: OutputArtifact[Model], pushed: Parameter[str]
) -> None:
    """The newest version in the folder `pushed` that is not `candidate` itself.

    The first run has none: `model` then is marked as absent.
    """
    itself = _fingerprint(Path(path_utils.serving_model_path(candidate.uri)))
    files = storage.find(pushed)
    versions = sorted(
        (
            int(name)
            for name, _, file in (path.partition("/") for path in files)
            if name.isdigit() and file == _GRAPH
        ),
        reverse=True,
    )
    for version in versions:
        folder = Path(storage.fetch(f"{pushed}/{version}"))
        if _fingerprint(folder) != itself:
            shutil.copytree(folder, path_utils.serving_model_dir(model.uri), dirs_exist_ok=True)
            return
    model.set_int_custom_property(ABSENT, 1)


def _fingerprint(model: Path) -> str:
    """sha256 of the variables' and the graph's bytes."""
    digest = hashlib.sha256()
    for path in sorted([model / _GRAPH, *model.glob("variables/*")]):
        digest.update(f"{path.relative_to(model)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
