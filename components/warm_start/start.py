"""The record beside an export of what its training started from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.label_names import listed
from inception_finetune.components.features import EXTRA_ASSETS
from inception_finetune.components.settings import Section

START_FILE: Final = "start.json"  # in the extra assets; a model that started cold has none
# Settings of a training on which the shapes and the inputs of the trained blocks depend.
SAME_SETTINGS: Final = {
    "network": "backbone.network",
    "backbone_fingerprint": "backbone.handle",
    "cut_before": "backbone.trainable_from",
    "image_size": "image.size",
}


class Start(Section):
    """The model that a training started from, and what became of its classes."""

    model: str  # folder of the exported model
    generation: int  # trainings in a row, this one included, that each started from the one before
    kept: int  # classes whose rows of the head were taken over
    added: tuple[str, ...]  # classes whose rows are new
    dropped: tuple[str, ...]  # classes of that model that are gone

    @property
    def sentence(self) -> str:
        """What is said of it in the run's output, in the report and in the card."""
        changes = [f"{self.kept:,} kept"]
        if self.added:
            changes.append(f"{len(self.added):,} new ({listed(self.added)})")
        if self.dropped:
            changes.append(f"{len(self.dropped):,} dropped ({listed(self.dropped)})")
        return (
            f"warm start {self.generation:,} in a row, from the blessed model {self.model}: "
            f"classes {', '.join(changes)}"
        )


def find_start(model_directory: Path) -> Start | None:
    """Reads what an exported model started from; None if that was the backbone alone."""
    path = model_directory / EXTRA_ASSETS / START_FILE
    return Start.model_validate_json(path.read_text("utf-8")) if path.is_file() else None


def next_generation(model_directory: Path) -> int:
    """Returns the `generation` of a training that starts from an exported model."""
    start = find_start(model_directory)
    return 1 if start is None else start.generation + 1


def is_cold_turn(model_directory: Path, cold_every: int) -> bool:
    """Returns whether it is time for a cold start.

    Args:
      model_directory: folder of the last blessed model.
      cold_every: each so many-th training starts cold; 0 for none.
    """
    return bool(cold_every) and next_generation(model_directory) >= cold_every


def require_same_network(model_directory: Path, settings: Mapping[str, Any]) -> None:
    """Refuses a model whose trained blocks do not fit.

    Args:
      model_directory: folder of the exported model.
      settings: of the training that is to start from it, as those beside an exported model.

    Raises:
      UserError: its network, backbone, cut or image size is another, or it does not say.
    """
    path = model_directory / EXTRA_ASSETS / "settings.json"
    try:
        trained: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        trained = {}
    for key, setting in SAME_SETTINGS.items():
        if trained.get(key) != settings[key]:
            raise UserError(
                f"No warm start from {model_directory}: its {key} is {_short(trained.get(key))}, "
                f"and that of this training is {_short(settings[key])}. Set {setting} as it was, "
                "or train once with training.start_from=backbone."
            )


def _short(value: object) -> str:
    return "not known" if value is None else str(value)[:16]
