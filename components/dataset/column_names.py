"""The columns of a table that a person names, where they are not left to be found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from inception_finetune.components.errors import UserError

_NAMED: Final = 20  # columns in a message
_UNUSED: Final = 5  # columns in the description of a table


class ColumnNames(NamedTuple):
    """The settings `dataset.image_column` and `dataset.label_column`; None is to be found."""

    image: str | None = None
    label: str | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """Those that are set, in words: ``dataset.label_column=breed``."""
        named = (("image", self.image), ("label", self.label))
        return tuple(f"dataset.{what}_column={name}" for what, name in named if name is not None)


class UnknownColumnError(UserError):
    """A table lacks a column that is named, or has it twice; `problem` says so without its name."""

    def __init__(self, path: Path, problem: str, mend: str) -> None:
        super().__init__(f"{path} has {problem}. {mend}")
        self.problem = problem


FOUND: Final = ColumnNames()  # both are to be found


def describe_columns(image: str, label: str, others: Sequence[str]) -> str:
    """Returns which columns are used, in words, and which are not.

    Args:
      image: that of the pictures.
      label: those of the classes, in words.
      others: the rest.
    """
    ignored = f", not looked at: {', '.join(others[:_UNUSED])}" if others else ""
    ignored += f" and {len(others) - _UNUSED} more" if others[_UNUSED:] else ""
    return f"pictures by {image!r}, classes by {label}{ignored}"


def require_columns(columns: ColumnNames, present: Sequence[str], path: Path) -> None:
    """Checks that a table has the columns that are named.

    Args:
      columns: that are named.
      present: of the table.
      path: of the table, for messages.

    Raises:
      UnknownColumnError: one is missing, or there twice.
    """
    named = (("image", columns.image), ("label", columns.label))
    for what, name in named:
        if name is None or present.count(name) == 1:
            continue
        shown = ", ".join(present[:_NAMED]) or "none"
        more = f" and {len(present) - _NAMED} more" if len(present) > _NAMED else ""
        number = "two columns" if name in present else "no column"
        raise UnknownColumnError(
            path,
            f"{number} {name!r}, but {shown}{more}",
            f"Set dataset.{what}_column to one of them, or to null to have it found.",
        )
