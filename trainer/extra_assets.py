"""Files beside an exported model: its variables, settings, labels, and its provenance."""

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from inception_finetune.components import features
from inception_finetune.components.backbone import cut
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.io.warm_up import write_warm_up
from inception_finetune.components.warm_start.start import START_FILE

if TYPE_CHECKING:
    from inception_finetune.components.evaluation.confidence import FittedConfidence
    from inception_finetune.components.warm_start.start import Start
    from inception_finetune.trainer.model import Classifier
    from inception_finetune.trainer.settings import TrainerSettings

# An image has no repository; its build puts the revision here.
REVISION_VARIABLE = "INCEPTION_FINETUNE_REVISION"


def write_extra_assets(
    directory: Path,
    settings: "TrainerSettings",
    classifier: "Classifier",
    confidence: "FittedConfidence",
    start: "Start | None" = None,
) -> None:
    """Writes what a reviewer needs to know of a model, and what a server warms up with.

    Args:
      directory: the model's ``assets.extra``.
      settings: those that it was trained with.
      classifier: its network.
      confidence: what was fitted to its answers.
      start: the model that the training started from, if there is one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rows = cut.variable_report(
        NETWORKS[settings.network], classifier.trunk, classifier.upper, classifier.head
    )
    (directory / "variables.txt").write_text(cut.render_report(rows), "utf-8")
    (directory / "settings.json").write_text(settings.model_dump_json(indent=2), "utf-8")
    (directory / "provenance.json").write_text(json.dumps(provenance(), indent=2), "utf-8")
    (directory / features.CONFIDENCE_FILE).write_text(confidence.model_dump_json(indent=2), "utf-8")
    if start:
        (directory / START_FILE).write_text(start.model_dump_json(indent=2), "utf-8")
    labels = "".join(f"{index}:{name}\n" for index, name in enumerate(settings.label_names))
    (directory / features.LABELS_FILE).write_text(labels, "utf-8")
    write_warm_up(directory, settings.image_size, explains=bool(settings.explained_block))


def provenance() -> dict[str, object]:
    """Returns the versions of Python and all packages, and the revision of this code if known."""
    packages = {item.name.lower(): item.version for item in metadata.distributions()}
    return {
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "packages": dict(sorted(packages.items())),
    }


def git_revision() -> str | None:
    """Returns the revision of the checkout of this code; ends in ``-dirty`` if it was changed."""
    if os.environ.get(REVISION_VARIABLE):
        return os.environ[REVISION_VARIABLE]
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    describe = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        result = subprocess.run(describe, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
