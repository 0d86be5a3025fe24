"""Modules that this project writes: complete or not at all, with a record of their origin."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from inception_finetune.components.backbone.module import fingerprint
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.marked_folder import scratch_folder

NOTE: Final = "README.txt"
REMEDY: Final = "Delete it or choose another directory."


@dataclass(frozen=True)
class Origin:
    """The command and settings that a module is made with."""

    command: str  # that writes it, such as "make-standin"
    manifest: str  # name of the file that keeps the settings
    settings: dict[str, Any]  # JSON; the same ones make the same variables


def is_made(directory: Path, origin: Origin) -> bool:
    """Returns whether the directory already holds the module, unchanged.

    Args:
        directory: the module's place.
        origin: settings that it does not name may be any.

    Raises:
        UserError: the directory holds anything else.
    """
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return False
    try:
        manifest = json.loads((directory / origin.manifest).read_text())
        settings, recorded = dict(manifest["settings"]), manifest["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{directory} holds something else than {origin.command} writes. {REMEDY}"
        ) from None
    if {**settings, **origin.settings} != settings:
        raise UserError(
            f"{directory} holds a module made with other settings: {json.dumps(settings)}, not "
            f"{json.dumps(origin.settings)}. {REMEDY}"
        )
    try:
        unchanged = fingerprint(directory) == recorded
    except OSError:
        unchanged = False
    if not unchanged:
        raise UserError(f"{directory} holds a module that was changed after it was made. {REMEDY}")
    return True


def write(
    directory: Path,
    backbone: Backbone,
    values: dict[str, np.ndarray],
    image_size: int,
    origin: Origin,
    note: str,
    check: Callable[[Path], None] = lambda directory: None,
) -> None:
    """Writes the module aside and renames it when it is complete and has passed the check.

    Args:
        directory: the module's place: missing, or empty.
        backbone: the network's table.
        values: all its variables by TF-Slim name, float32.
        image_size: side in pixels, for a network that takes images of one size only.
        origin: is recorded in the manifest.
        note: text of the README.
        check: called with the temporary directory of the module before it is renamed.
    """
    from inception_finetune.components.backbone import forward

    directory.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(f".{directory.name}.", directory.parent) as scratch:
        temporary = scratch / "module"
        temporary.mkdir()
        forward.save(backbone, values, image_size, str(temporary))
        check(temporary)
        (temporary / NOTE).write_text(note, "utf-8")
        manifest = {"settings": origin.settings, "fingerprint": fingerprint(temporary)}
        (temporary / origin.manifest).write_text(json.dumps(manifest, indent=2) + "\n")
        if directory.is_dir():
            directory.rmdir()  # known to be empty
        temporary.rename(directory)
