"""Recognises the layout of a source on disk, and notes what had to be guessed.

A split is known by its name in any case, and by its usual spellings: ``Training``, ``val``. What
looks like a split and has no known name is refused, so that no class is learned from it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from inception_finetune.components.dataset.archive import META
from inception_finetune.components.dataset.tree import entries, files, folders
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import LABELS_FILE, SPLITS, TEST, TRAIN, VALIDATION

LIST_SUFFIXES: Final = (".tsv", ".txt")
_SPELLINGS: Final = {
    **dict.fromkeys((TRAIN, "training"), TRAIN),
    **dict.fromkeys((VALIDATION, "val", "valid", "validate", "dev"), VALIDATION),
    **dict.fromkeys((TEST, "testing"), TEST),
}
_UNCLEAR: Final = ("eval", "evaluation")  # some mean validation by them, some test
# What TFDS, TF-Slim and the object detection API call files of records.
_RECORDS: Final = re.compile(
    r"(?P<stem>.+?)(\.tfrecords?|\.records?)?(-\d+-of-\d+)?(\.tfrecords?|\.records?)?(?P<gz>\.gz)?",
    re.IGNORECASE,
)
_PICTURES: Final = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
_NAMED: Final = 5  # names in a message


@dataclass(frozen=True)
class Layout:
    """The kind of a source, and where its parts lie.

    `parts` are (split, path): split folders or record files, or the source itself with a split of
    "" where it leaves the splits open or names them inside.
    """

    kind: Literal["archive", "records", "pictures", "list"]
    path: Path
    parts: tuple[tuple[str, Path], ...]
    notes: tuple[str, ...] = ()  # what was guessed or is not looked at, in words


def split_of(name: str) -> str | None:
    """Returns the split that goes by `name`, in any case; None if it is no split's name.

    Raises:
      UserError: it is a split's name, but not clear which one's.
    """
    if name.casefold() in _UNCLEAR:
        raise UserError(f"{name!r} may mean validation or test. Call it {VALIDATION} or {TEST}.")
    return _SPELLINGS.get(name.casefold())


def spelling_notes(names: Counter[str]) -> tuple[str, ...]:
    """Returns a note on each split name that is spelled in another way.

    Args:
      names: split names, each with the number of its files.
    """
    return tuple(
        f"{name!r} is taken as {split_of(name)} ({_file_count(count)})"
        for name, count in sorted(names.items())
        if name not in SPLITS
    )


def require_known_suffix(source: str) -> None:
    """Refuses, before it is fetched, a source whose name shows that it cannot be read.

    Raises:
      UserError: it is a .csv, a .zip or another file that is not read.
    """
    suffix = Path(source).suffix.lower()
    if suffix in (".csv", ".xls", ".xlsx", ".json", ".jsonl", ".parquet"):
        raise UserError(
            f"{source} is not a list that can be read: that is tab-separated text, .tsv or "
            ".txt, of address<TAB>class lines without a header. Save it so."
        )
    if suffix in (".zip", ".rar", ".7z"):
        raise UserError(
            f"{source} is not an archive that can be read: that is a tar or tar.gz in "
            "CIFAR-10's layout. Unpack it, and give the folder."
        )
    if suffix in (".tfrecord", ".tfrecords", *_PICTURES):
        raise UserError(
            f"{source} is a single file, and a data set is a folder, an archive or a list. "
            "Give the folder that it lies in."
        )


def layout_of(source: Path) -> Layout:
    """Recognises the layout of a folder or file.

    Raises:
      UserError: `source` looks like no layout, or like two.
    """
    if not source.is_dir():
        require_known_suffix(source.name)
        kind: Literal["list", "archive"] = (
            "list" if source.suffix.lower() in LIST_SUFFIXES else "archive"
        )
        return Layout(kind, source, (("", source),))
    if [*source.glob(META), *source.glob(f"*/{META}")]:
        return Layout("archive", source, (("", source),))
    tops = folders(source)
    records = [path for path in entries(source) if path.is_file() and _is_of_records(path.name)]
    if records or (not tops and (source / LABELS_FILE).is_file()):
        return _records(source, records, tops)
    if len(tops) == 1 and split_of(tops[0].name) is None and not _loose_pictures(source):
        inner = tops[0]
        if folders(inner) or any(_is_of_records(path.name) for path in entries(inner)):
            inner_layout = layout_of(inner)
            return Layout(
                inner_layout.kind,
                inner_layout.path,
                inner_layout.parts,
                (f"looked at {inner}", *inner_layout.notes),
            )
    return _pictures(source, tops)


def _is_of_records(name: str) -> bool:
    match = _RECORDS.fullmatch(name)
    return match is not None and any(match.group(2, 3, 4))


def _records(source: Path, records: list[Path], tops: list[Path]) -> Layout:
    spellings: Counter[str] = Counter()
    parts: list[tuple[str, Path]] = []
    other = [top.name for top in tops if any(True for _ in files(top))]
    for path in records:
        match = _RECORDS.fullmatch(path.name)
        words = re.split(r"[-_.]", match["stem"]) if match else []
        named = [word for word in words if split_of(word)]
        splits = {split_of(word) for word in named}
        if len(splits) > 1:
            raise UserError(
                f"Records in {path} may be of {' or '.join(named)}. Call the file "
                "train-*.tfrecord, validation-*.tfrecord or test-*.tfrecord."
            )
        if not named:
            other.append(path.name)
            continue
        if match and match["gz"]:
            raise UserError(
                f"Records in {path} are compressed, and are read where they lie. Gunzip the file."
            )
        spellings[named[0]] += 1
        parts.append((str(*splits), path))
    for split in (TRAIN, TEST):
        if split not in dict(parts):
            raise UserError(
                f"{source} has no records of {split}, but "
                f"{_join_names([path.name for path in entries(source)])}: records lie in files "
                "named train-*.tfrecord and test-*.tfrecord. Rename the files, or add them."
            )
    parts.sort(key=lambda part: (SPLITS.index(part[0]), part[1].name))
    notes = (*spelling_notes(spellings), *_not_looked_at(other, "train and test records"))
    return Layout("records", source, tuple(parts), notes)


def _pictures(source: Path, tops: list[Path]) -> Layout:
    below = {top: {path.name for path in folders(top)} for top in tops}
    splits = [(split, top) for top in tops if (split := split_of(top.name))]
    if not any(below[top] for _, top in splits):  # a split's folder holds class folders
        _refuse_splits_as_classes(source, below)
        notes = tuple(
            f"{top.name!r} is taken as a class: it holds pictures, not class folders"
            for _, top in splits
        )
        return Layout("pictures", source, (("", source),), notes)
    names = Counter(split for split, _ in splits)
    for split in (TRAIN, TEST):
        if split not in names:
            raise UserError(
                f"{source} lacks the folder {split}: it holds "
                f"{_join_names([top.name for top in tops])}, and pictures lie in train/CLASS and "
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
    ignored = [f"{top.name} ({_file_count(n)})" for top in others if (n := len(list(files(top))))]
    notes = (*spelling_notes(spellings), *_not_looked_at(ignored, "train and test"))
    splits.sort(key=lambda part: SPLITS.index(part[0]))
    return Layout("pictures", source, tuple(splits), notes)


def _refuse_splits_as_classes(source: Path, below: dict[Path, set[str]]) -> None:
    """Checks that top folders are classes, where none has both a split's name and class folders.

    Raises:
      UserError: they look like splits, or hold splits.
    """
    words = [_split_words(top.name) for top in below]
    names = _join_names([top.name for top in below])
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
            f"({_join_names(shared)}), so splits and classes cannot be told apart. Lay the "
            "pictures out as train/CLASS and test/CLASS, or give a list (.tsv)."
        )


def _split_words(name: str) -> set[str]:
    """Returns the splits that words in `name` stand for, as in seg_train or val2017."""
    words = re.findall(r"[^\W\d_]+", name.casefold())
    return {_SPELLINGS.get(word, word) for word in words if word in (*_SPELLINGS, *_UNCLEAR)}


def _loose_pictures(folder: Path) -> bool:
    return any(looks_like_picture(path) for path in entries(folder))


def looks_like_picture(path: Path) -> bool:
    """Judges by its name whether a file is an image: one outside of class folders would be lost."""
    return path.suffix.lower() in _PICTURES and not path.is_dir()


def _not_looked_at(names: list[str], beside: str) -> tuple[str, ...]:
    return (f"not looked at, beside {beside}: {_join_names(names)}",) if names else ()


def _file_count(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _join_names(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "nothing") + more
