"""The class names that an exported model carries, by which two models' answers are compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from inception_finetune.components.errors import UserError
from inception_finetune.components.features import EXTRA_ASSETS, LABELS_FILE

_NAMED: Final = 5  # classes that a line lists


def find_label_names(model_directory: Path) -> tuple[str, ...] | None:
    """In the order of the label ids; None where the model carries none, as old ones do."""
    try:
        text = (model_directory / EXTRA_ASSETS / LABELS_FILE).read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
        return None
    lines = text.removesuffix("\n").split("\n")
    if any(not line.startswith(f"{number}:") for number, line in enumerate(lines)):
        return None
    return tuple(line.partition(":")[2] for line in lines)


def read_label_names(model_directory: Path) -> tuple[str, ...]:
    """As `find_label_names`.

    Raises:
      UserError: the model carries none.
    """
    names = find_label_names(model_directory)
    if names is None:
        raise UserError(
            f"Class names are missing or incomplete in {model_directory}: a model carries them in "
            f"{EXTRA_ASSETS}/{LABELS_FILE}. Take a model that was exported with it."
        )
    return names


def why_incomparable(candidate: Path, other: Path) -> str | None:
    """Why the exported model `other` is not compared with `candidate`; None where it is.

    Label ids mean nothing outside of their own model: two models can be compared if they know the
    same class names, in whatever order.
    """
    names, others = find_label_names(candidate), find_label_names(other)
    if names is None or others is None:
        return "the last blessed model does not say which classes it knows"
    if set(names) == set(others) and len(names) == len(others):
        return None
    return f"the last blessed model has other classes: {differing(others, names)}"


def differing(names: Sequence[str], others: Sequence[str]) -> str:
    """Which classes `names` has and lacks beside `others`, such as "with cat, without feline"."""
    parts = [
        f"{word} {listed(more)}"
        for word, more in (
            ("with", [name for name in names if name not in set(others)]),
            ("without", [name for name in others if name not in set(names)]),
        )
        if more
    ]
    return ", ".join(parts)


def listed(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def places(names: Sequence[str], others: Sequence[str]) -> tuple[int, ...]:
    """Where each of `names` stands in `others`, which has the same names in another order."""
    place = {name: index for index, name in enumerate(others)}
    return tuple(place[name] for name in names)
