"""Names of splits: which words mean train, validation or test, and what is said of the others.

A split is known by its name in any case, and by its usual spellings: ``Training``, ``val``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from inception_finetune.components.errors import UserError
from inception_finetune.components.features import SPLITS, TEST, TRAIN, VALIDATION

_SPELLINGS: Final = {
    **dict.fromkeys((TRAIN, "training"), TRAIN),
    **dict.fromkeys((VALIDATION, "val", "valid", "validate", "dev"), VALIDATION),
    **dict.fromkeys((TEST, "testing"), TEST),
}
_UNCLEAR: Final = ("eval", "evaluation")  # some mean validation by them, some test
_NAMED: Final = 5  # names in a message


def split_of(name: str) -> str | None:
    """Returns the split that goes by `name`, in any case; None if it is no split's name.

    Raises:
      UserError: it is a split's name, but not clear which one's.
    """
    if name.casefold() in _UNCLEAR:
        raise UserError(f"{name!r} may mean validation or test. Call it {VALIDATION} or {TEST}.")
    return _SPELLINGS.get(name.casefold())


def split_words(name: str) -> set[str]:
    """Returns the splits that words in `name` stand for, as in seg_train or val2017."""
    words = re.findall(r"[^\W\d_]+", name.casefold())
    return {_SPELLINGS.get(word, word) for word in words if word in (*_SPELLINGS, *_UNCLEAR)}


def split_in_stem(stem: str, path: Path, kind: str) -> tuple[str, str] | None:
    """Searches the words of a file's name, which ``-``, ``_`` and ``.`` part, for a split.

    Args:
      stem: the name without what its format adds.
      path: of the file, for messages.
      kind: what such files hold, for messages.

    Returns:
      The split and the word that names it, or None.

    Raises:
      UserError: the name may mean two splits.
    """
    named = [word for word in re.split(r"[-_.]", stem) if split_of(word)]
    if len({split_of(word) for word in named}) > 1:
        raise UserError(
            f"{kind} in {path} may be of {' or '.join(named)}. Call the file train-*, "
            "validation-* or test-*."
        )
    return (str(split_of(named[0])), named[0]) if named else None


def order_of_part(part: tuple[str, Path]) -> tuple[int, str]:
    """Sort key of (split, path): train, validation, test, what is open; then by name."""
    split, path = part
    return (*SPLITS, "").index(split), str(path)


def open_without_test(
    parts: Sequence[tuple[str, Path]], kind: str
) -> tuple[tuple[tuple[str, Path], ...], tuple[str, ...]]:
    """Leaves train open where no part is for test, so that test can be held out of it.

    Args:
      parts: (split, path) of each; a split may be "".
      kind: what the parts are, in the plural, for the note.

    Returns:
      The parts, sorted, and the notes on what was done.

    Raises:
      UserError: there are parts for test or validation and none to train on.
    """
    splits = {split for split, _ in parts}
    named = sorted(split for split in splits if split)
    if not splits & {TRAIN, ""}:
        raise UserError(
            f"{parts[0][1].parent} has {kind} of {' and '.join(named)}, but none of train. Add "
            "them, or name them train-*."
        )
    if TEST in splits or splits == {""}:
        return tuple(sorted(parts, key=order_of_part)), ()
    opened = [("" if split == TRAIN else split, path) for split, path in parts]
    note = f"no {kind} of test: dataset.test_fraction of each class of train becomes test"
    return tuple(sorted(opened, key=order_of_part)), (note,)


def spelling_notes(names: Counter[str]) -> tuple[str, ...]:
    """Returns a note on each split name that is spelled in another way.

    Args:
      names: split names, each with the number of its files.
    """
    return tuple(
        f"{name!r} is taken as {split_of(name)} ({file_count(count)})"
        for name, count in sorted(names.items())
        if name not in SPLITS
    )


def not_looked_at(names: Sequence[str], beside: str) -> tuple[str, ...]:
    """Returns the note on files and folders that are no part of the data set, if there are any."""
    return (f"not looked at, beside {beside}: {join_names(names)}",) if names else ()


def file_count(count: int) -> str:
    """Returns ``1 file`` or ``1,234 files``."""
    return "1 file" if count == 1 else f"{count:,} files"


def join_names(names: Iterable[str]) -> str:
    """Returns at most the first five names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "nothing") + more
