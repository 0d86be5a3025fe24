"""Refuses a root or cache that no run could use, before anything is written."""

import os
import re
from pathlib import Path
from typing import Final

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import Config

_LONGEST_PART: Final = 255  # bytes of a name, on the file systems of Linux
# TFX and Beam take paths for patterns: a run in "exp[1]" would read "exp1".
_PATTERN: Final = re.compile(r"[*?\[\]\\]")


def require_folders(config: Config) -> None:
    """Checks that `root` and `cache` are folders, or can be made.

    Raises:
      UserError: one is a file, lies below one, is a link that leads nowhere, has a part that is too
        long, or is not UTF-8.
    """
    for name, text in (("root", config.root), ("cache", config.cache)):
        if reason := _why_not_a_folder(text):
            raise UserError(f"{name}={shown_path(text)} cannot be used: {reason}. Give another.")


def require_no_pattern(root: Path) -> None:
    """Checks that the path of a pipeline's root means itself where it is taken for a pattern.

    Args:
      root: relative to the working directory, whose path counts too.

    Raises:
      UserError: it has one of the characters that patterns are made of.
    """
    path = str(root.resolve())
    if found := _PATTERN.search(path):
        raise UserError(
            f"root={path} cannot be used: TFX takes {found[0]} in a path for a pattern. Give a "
            "root=DIRECTORY without any of * ? [ ] and backslashes."
        )


def shown_path(text: str) -> str:
    """Returns a path for a message: on one line, and cut in the middle where it is long."""
    shown = text.encode(errors="backslashreplace").decode()
    shown = shown if shown.isprintable() else ascii(shown)
    return shown if len(shown) <= 200 else f"{shown[:100]}…{shown[-100:]}"


def _why_not_a_folder(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it is not UTF-8"
    if "\0" in text:
        return "it holds NUL"
    path = Path(text).absolute()
    if any(len(part.encode()) > _LONGEST_PART for part in path.parts):
        return f"a part of it is longer than {_LONGEST_PART} bytes"
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if there.is_dir():
        return None
    kind = "a link that leads to no folder" if there.is_symlink() else "not a folder"
    return f"{shown_path(str(there))} is {kind}"
