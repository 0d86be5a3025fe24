"""A module that this project writes: whole or not there, and beside it what it was made from."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from inception_finetune.components.backbone.module import fingerprint
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.errors import UserError

NOTE: Final = "README.txt"
MEND: Final = "delete it or choose another directory"


@dataclass(frozen=True)
class Origin:
    """What a module is made from."""

    command: str  # that writes it, such as "make-standin"
    manifest: str  # name of the file that keeps the settings
    settings: dict[str, Any]  # JSON; the same ones make the same variables


def is_made(directory: Path, origin: Origin) -> bool:
    """Whether the directory already holds the module, unchanged. Settings not given may be any.

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
            f"{origin.command} writes to a new directory: {directory} holds something else; {MEND}"
        ) from None
    if {**settings, **origin.settings} != settings:
        raise UserError(
            f"{directory} holds a module made with other settings: {json.dumps(settings)}, "
            f"asked for {json.dumps(origin.settings)}; {MEND}"
        )
    try:
        unchanged = fingerprint(directory) == recorded
    except OSError:
        unchanged = False
    if not unchanged:
        raise UserError(f"{directory} holds a module that was changed after it was made; {MEND}")
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
    """Writes the module aside and renames it when it is whole and has passed the check.

    Args:
        directory: the module's place: not there, or empty.
        backbone: the network.
        values: all its variables by TF-Slim name, float32.
        image_size: pixels a side, of a network that takes images of one size alone.
        origin: stands in the manifest.
        note: for people.
        check: is given the directory that the module lies in before it is renamed.
    """
    from inception_finetune.components.backbone import forward

    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        forward.save(backbone, values, image_size, str(temporary))
        check(temporary)
        (temporary / NOTE).write_text(note, "utf-8")
        manifest = {"settings": origin.settings, "fingerprint": fingerprint(temporary)}
        (temporary / origin.manifest).write_text(json.dumps(manifest, indent=2) + "\n")
        temporary.chmod(0o755)  # mkdtemp's 0700 would shut out other readers
        if directory.is_dir():
            directory.rmdir()  # known to be empty
        temporary.rename(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
