"""The folder of a conversion: what it replaces, and how it comes into place."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Final

from inception_finetune.components.dataset.manifest import (
    MANIFEST_FILE,
    UNFINISHED,
    load_manifest,
)
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import LABELS_FILE, TEST, TRAIN, VALIDATION

_SHARD: Final = re.compile(rf"({TRAIN}|{VALIDATION}|{TEST})-\d{{5,}}-of-\d{{5,}}\.tfrecord")


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Raises UserError where `directory` cannot be written, for want of space or otherwise."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write the converted data set to {directory}: {error}. Free disk space, or "
            "choose another directory."
        ) from error


def refuse_foreign_files(directory: Path) -> None:
    """Checks that replacing `directory` removes nothing but a conversion.

    Raises:
      UserError: `directory` is a file, or holds files that no conversion wrote.
    """
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UserError(
            f"{directory} is a file, and a data set is written to a directory. Choose another path."
        )
    held = {path.name for path in directory.iterdir()}
    try:
        shards = load_manifest(directory).shards.values()
        written = {shard.file for shard in chain(*shards)}
    except UserError:  # a damaged manifest names none
        written = {name for name in held if _SHARD.fullmatch(name)}
    if foreign := sorted(held - written - {LABELS_FILE, MANIFEST_FILE, UNFINISHED}):
        raise UserError(
            f"{directory} holds {foreign[0]}, which no conversion wrote, and would be replaced. "
            "Move it away or choose another directory."
        )
    if held and not held & {MANIFEST_FILE, UNFINISHED}:
        raise UserError(
            f"{directory} holds {sorted(held)[-1]} but no {MANIFEST_FILE}, so that others may have "
            "written it, and would be replaced. Move it away or choose another directory."
        )


def put_in_place(fresh: Path, directory: Path, old: Path) -> None:
    """Renames a finished conversion into place; on failure the old one is put back.

    Args:
        fresh: the finished conversion.
        directory: its final place.
        old: where a conversion that is replaced is moved to.
    """
    replaces = directory.exists()
    if replaces:
        directory.rename(old)
    try:
        fresh.rename(directory)
    except OSError:
        if replaces:
            old.rename(directory)
        raise
