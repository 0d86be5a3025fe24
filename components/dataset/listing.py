"""A folder of pictures, or a list of their addresses, as lines that any worker can take up.

A folder is ``<class>/<picture>``, or ``train/<class>/<picture>`` with ``test/`` and perhaps
``validation/`` beside it; names that begin with a dot are not looked at. A list is a text file of
``address<TAB>class`` or ``address<TAB>class<TAB>split`` lines; addresses are whatever Beam's file
systems open, and relative ones begin at the list.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from components.dataset.archive import META
from components.dataset.bad_examples import Skipped
from components.errors import UserError
from components.features import SPLITS, TEST, TRAIN

LIST_SUFFIXES: Final = (".tsv", ".txt")
PLAIN_FILE: Final = "a class' folder holds plain files and folders"


class Entry(NamedTuple):
    """One picture; `split` is "" where the source leaves it open."""

    id: str
    address: str
    label_name: str
    split: str


@dataclass(frozen=True)
class Listing:
    """What a listing's file holds: a JSON array ``[id, address, label, split]`` a line."""

    label_names: tuple[str, ...]
    count: int
    splits: frozenset[str]  # that the source names
    fingerprint: str  # sha256 of ids, addresses, labels, and of a folder's file sizes and times


def is_listed(path: Path) -> bool:
    """Whether `path` is a folder of pictures or a list of them, and no archive."""
    if path.is_dir():
        return not [*path.glob(META), *path.glob(f"*/{META}")]
    return path.suffix in LIST_SUFFIXES and path.is_file()


def write_listing(source: Path, target: Path, skipped: Skipped) -> Listing:
    """Writes the pictures of `source` to `target`, a line each.

    Raises:
      UserError: there are no two classes, or a line or file fits no layout.
    """
    names = tuple(sorted({entry.label_name for entry, _ in _entries(source, skipped)}))
    if len(names) < 2 or not all(name.isprintable() for name in names):
        raise UserError(
            f"pictures lie in two or more class folders, or have two or more classes in a list, "
            f"with printable names. {source} has {list(names)}"
        )
    numbers = {name: number for number, name in enumerate(names)}
    digest = hashlib.sha256(json.dumps(names).encode())
    count = 0
    splits: set[str] = set()
    with target.open("w", encoding="utf-8") as file:
        for entry, state in _entries(source, skipped):
            line = json.dumps([entry.id, entry.address, numbers[entry.label_name], entry.split])
            digest.update(f"{line}\0{state}\n".encode())
            file.write(line + "\n")
            splits.add(entry.split)
            count += 1
    if TEST in splits and TRAIN not in splits and "" not in splits:
        raise UserError(f"{source} names test pictures but none to train on; add a train folder")
    return Listing(names, count, frozenset(splits), digest.hexdigest())


def _entries(source: Path, skipped: Skipped) -> Iterator[tuple[Entry, str]]:
    """Each picture, and what shows that its file changed."""
    return _in_folder(source, skipped) if source.is_dir() else _in_list(source)


def _in_folder(root: Path, skipped: Skipped) -> Iterator[tuple[Entry, str]]:
    tops = {path.name for path in class_folders(root)}
    splits = sorted(tops) if TRAIN in tops and tops <= set(SPLITS) else [""]
    for split, label_name, path in class_files(root, splits):
        identity = identity_of(path, root)
        if not path.is_file():
            skipped.bad(identity, PLAIN_FILE, str(root))
            continue
        status = path.stat()
        entry = Entry(identity, str(path.resolve()), label_name, split)
        yield entry, f"{status.st_size} {status.st_mtime_ns}"


def class_files(root: Path, splits: Iterable[str]) -> Iterator[tuple[str, str, Path]]:
    """Split, class and path of all but folders below the class folders of `splits`.

    In an order that does not depend on the file system.
    """
    for split in splits:
        for folder in class_folders(root / split):
            for path in sorted(_visible(folder.rglob("*"), folder)):
                if not path.is_dir():
                    yield split, folder.name, path


def class_folders(directory: Path) -> list[Path]:
    """Sorted; none where there is no such directory."""
    if not directory.is_dir():
        return []
    return sorted(path for path in _visible(directory.iterdir(), directory) if path.is_dir())


def identity_of(path: Path, root: Path) -> str:
    """The path below `root`; what is not UTF-8 in it is written with escapes."""
    return str(path.relative_to(root)).encode(errors="backslashreplace").decode()


def _visible(paths: Iterable[Path], below: Path) -> Iterator[Path]:
    for path in paths:
        if not any(name.startswith(".") for name in path.relative_to(below).parts):
            yield path


def _in_list(path: Path) -> Iterator[tuple[Entry, str]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            address, *rest = line.rstrip("\n").split("\t")
            if len(rest) not in (1, 2) or not rest[0] or (rest[1:] and rest[1] not in SPLITS):
                raise UserError(
                    f"a line reads address<TAB>class or address<TAB>class<TAB>split, with a split "
                    f"of {', '.join(SPLITS)}. {path} line {number}: {line.strip()!r}"
                )
            full = address if "://" in address else str((path.parent / address).resolve())
            yield Entry(address, full, rest[0], rest[1] if rest[1:] else ""), ""
