"""Reads files that name the classes: ``0:cat`` a line, numbered from 0 or 1, or the name alone."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Final, NamedTuple

from inception_finetune.components.dataset.unpickle import describe
from inception_finetune.components.errors import UserError

_LARGEST: Final = 1 << 24  # bytes


class LabelNames(NamedTuple):
    """Names of the classes, and the number of the first one."""

    names: tuple[str, ...]
    first: int = 0  # or 1

    def index_of(self, label: int | str) -> int | None:
        """Returns the place of a class among the names, by its number or name."""
        if isinstance(label, str) and label in self.names:
            return self.names.index(label)
        if isinstance(label, str) and not label.isdecimal():
            return None
        index = int(label) - self.first
        return index if 0 <= index < len(self.names) else None

    def name_of(self, label: int | str) -> str | None:
        """Returns the name of a class, by its number or name."""
        index = self.index_of(label)
        return None if index is None else self.names[index]

    @property
    def range(self) -> str:
        """The numbers of the classes, for messages."""
        return f"[{self.first}, {self.first + len(self.names)})"


def read_label_names(path: Path) -> LabelNames:
    """Reads the names of classes.

    Args:
      path: UTF-8 text, ``0:cat`` in the first line, ``1:dog`` in the second and so on, or numbered
        from 1, or names alone, which are numbered from 0.

    Raises:
      UserError: it is something else.
    """
    try:
        with path.open("rb") as file:
            lines = file.read(_LARGEST).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not UTF-8 text: {error}. Write it again.") from None
    while lines and not lines[-1].strip():
        lines.pop()
    first = 1 if lines and lines[0].startswith("1:") else 0
    numbered = [f"{number}:" for number in range(first, first + len(lines))]
    is_plain = lines and not any(line.partition(":")[0].strip().isdecimal() for line in lines)
    if is_plain:
        names = tuple(line.strip() for line in lines)
    else:
        pairs = zip(lines, numbered, strict=True)
        names = tuple(
            line.removeprefix(number).strip() for line, number in pairs if line.startswith(number)
        )
    names = tuple(unicodedata.normalize("NFC", name) for name in names)
    distinct = len(set(names)) == len(names)
    printable = all(name and name.isprintable() for name in names)
    if len(names) < max(2, len(lines)) or not distinct or not printable:
        raise UserError(
            f"{path} reads {describe(lines)}, not one distinct printable name a line, 0:cat, "
            "1:dog and so on, two or more. Correct it."
        )
    return LabelNames(names, first)
