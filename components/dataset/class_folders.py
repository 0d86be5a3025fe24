"""Folders of pictures: class folders, perhaps below folders for the splits.

What looks like a split and has no known name is refused, so that no class is learned from it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

from inception_finetune.components.dataset.parts import Parts
from inception_finetune.components.dataset.split_names import (
    file_count,
    join_names,
    not_looked_at,
    spelling_notes,
    split_of,
    split_words,
)
from inception_finetune.components.dataset.tree import entries, files, folders, looks_like_picture
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import SPLITS, TEST, TRAIN

_ARCHIVES: Final = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z")


def find_folders(source: Path) -> Parts:
    """Finds split folders and class folders.

    Raises:
      UserError: splits are missing, or cannot be told from classes.
    """
    tops = folders(source)
    below = {top: {path.name for path in folders(top)} for top in tops}
    splits = [(split, top) for top in tops if (split := split_of(top.name))]
    if not any(below[top] for _, top in splits):  # a split's folder holds class folders
        _refuse_splits_as_classes(source, below)
        _refuse_what_is_packed(source, tops)
        notes = tuple(
            f"{top.name!r} is taken as a class: it holds pictures, not class folders"
            for _, top in splits
        )
        form = f"class folders, {_classes(tops)}, no splits"
        return Parts(form, source, (("", source),), notes)
    names = Counter(split for split, _ in splits)
    for split in (TRAIN, TEST):
        if split not in names:
            raise UserError(
                f"{source} lacks the folder {split}: it holds "
                f"{join_names([top.name for top in tops])}, and pictures lie in train/CLASS and "
                "test/CLASS. Add it, or where these are all classes, give class folders alone or "
                "a list (.tsv)."
            )
    for split, count in names.items():
        if count > 1:
            names_of_split = [top.name for other, top in splits if other == split]
            raise UserError(
                f"{source} has several folders for {split}: {' and '.join(names_of_split)}. Put "
                "them together."
            )
    spellings = Counter({top.name: sum(1 for _ in files(top)) for _, top in splits})
    others = [top for top in tops if split_of(top.name) is None]
    ignored = [f"{top.name} ({file_count(n)})" for top in others if (n := len(list(files(top))))]
    notes = (*spelling_notes(spellings), *not_looked_at(ignored, "train and test"))
    splits.sort(key=lambda part: SPLITS.index(part[0]))
    classes = [folder for split, top in splits if split == TRAIN for folder in folders(top)]
    shown = join_names([f"{top.name}/CLASS" for _, top in splits])
    return Parts(f"folders {shown}, {_classes(classes)}", source, tuple(splits), notes)


def class_of(parts: Parts, path: Path) -> str | None:
    """Returns the class folder that a file lies in, or None if it lies in none."""
    for _, top in parts.parts:
        if path.is_relative_to(top) and len(below := path.relative_to(top).parts) > 1:
            return below[0]
    return None


def _classes(folders_of_classes: list[Path]) -> str:
    count = sum(1 for folder in folders_of_classes if next(files(folder), None) is not None)
    return "1 class" if count == 1 else f"{count:,} classes"


def _refuse_what_is_packed(source: Path, tops: list[Path]) -> None:
    packed = [path.name for path in entries(source) if path.suffix.lower() in _ARCHIVES]
    if packed and not tops and not any(looks_like_picture(path) for path in entries(source)):
        raise UserError(
            f"{source} holds no folders, but {join_names(packed)}. Unpack them there, or give one "
            "of them."
        )


def _refuse_splits_as_classes(source: Path, below: dict[Path, set[str]]) -> None:
    """Checks that top folders are classes, where none has both a split's name and class folders.

    Raises:
      UserError: they look like splits, or hold splits.
    """
    words = [split_words(top.name) for top in below]
    names = join_names([top.name for top in below])
    exact = {split for top in below if (split := split_of(top.name))}
    if len(exact) > 1 or (all(words) and len(set().union(*words)) > 1):
        raise UserError(
            f"Folders of {source} look like splits ({names}), not like classes. Lay the "
            "pictures out as train/CLASS and test/CLASS, or give a list (.tsv)."
        )
    name_counts = Counter(name for inner in below.values() for name in inner)
    shared = sorted(name for name, count in name_counts.items() if count > 1)
    if len(shared) > 1 or any(split_of(name) for name in shared):
        raise UserError(
            f"Folders of {source} ({names}) hold folders of the same names "
            f"({join_names(shared)}), so splits and classes cannot be told apart. Lay the "
            "pictures out as train/CLASS and test/CLASS, or give a list (.tsv)."
        )
