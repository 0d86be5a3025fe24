"""What the finders of layouts return: where the parts of a source lie, and what was recognised."""

from pathlib import Path
from typing import NamedTuple


class Parts(NamedTuple):
    """The parts of a source: (split, path) each; a split of "" is left open."""

    form: str  # what was recognised, in words
    path: Path
    parts: tuple[tuple[str, Path], ...]
    notes: tuple[str, ...] = ()  # what was guessed or is not looked at, in words
