"""Lists a folder's content in sorted order, following links and ignoring system files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from inception_finetune.components.errors import UserError

# What systems leave in folders beside names that begin with a dot, in lower case.
_OF_SYSTEMS: Final = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin"}
)
# Ends of names of pictures, in lower case, the most usual first.
PICTURE_SUFFIXES: Final = (
    *(".jpg", ".png", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".heic", ".heif", ".avif", ".jfif"),
)


def looks_like_picture(path: Path) -> bool:
    """Judges by its name whether a file is an image: one outside of class folders would be lost."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir()


def entries(folder: Path) -> list[Path]:
    """Lists the content of `folder` itself, without system files.

    Raises:
      UserError: it cannot be listed.
    """
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if not path.name.startswith(".") and path.name.casefold() not in _OF_SYSTEMS
        )
    except OSError as error:
        raise UserError(
            f"{folder} cannot be listed: {error.strerror}. Make it readable, or move it away."
        ) from error


def folders(folder: Path) -> list[Path]:
    """Lists the folders in `folder`, links to folders among them."""
    return [path for path in entries(folder) if path.is_dir()]


def files(folder: Path, inside: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Iterates over all files below `folder`, however deep.

    A link to a folder that contains it is not followed but yielded as if it were a file.

    Args:
      folder: where to begin.
      inside: real paths of the folders around `folder`.
    """
    enclosing = inside | {os.path.realpath(folder)}
    for path in entries(folder):
        if path.is_dir() and os.path.realpath(path) not in enclosing:
            yield from files(path, enclosing)
        else:
            yield path


def identity_of(path: Path, root: Path) -> str:
    """Returns the path relative to `root`; bytes that are not UTF-8 are escaped."""
    return str(path.relative_to(root)).encode(errors="backslashreplace").decode()
