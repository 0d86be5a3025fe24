"""A folder of pictures, or a list of their addresses, as lines that any worker can take up.

`components.dataset.layout` decides which folders are splits; a list is UTF-8 text of
``address<TAB>class`` or ``address<TAB>class<TAB>split`` lines without a header. Addresses are
whatever Beam's file systems open, and relative ones begin at the list.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from inception_finetune.components.dataset.bad_examples import Policy, Skipped
from inception_finetune.components.dataset.encoded_source import (
    EncodedExample,
    EncodedSource,
    check_examples,
)
from inception_finetune.components.dataset.layout import (
    Layout,
    looks_like_picture,
    spelling_notes,
    split_of,
)
from inception_finetune.components.dataset.partition import read_encoded
from inception_finetune.components.dataset.tree import entries, files, folders, identity_of
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import SPLITS, TEST, TRAIN

_PLAIN_FILE: Final = "a class' folder holds plain files and folders, and none that it lies in"
_IN_A_CLASS: Final = "a picture lies in a class' folder, here it lies beside them"
_HEADER: Final = "a list has no header, and each line of it is a picture's, here line 1 is none"


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
    fingerprint: str  # sha256 of ids, addresses, labels, and of local files' sizes and times
    notes: tuple[str, ...] = ()  # what was guessed or is not looked at, in words


def write_listing(layout: Layout, target: Path, skipped: Skipped) -> Listing:
    """Writes the pictures of a folder or list to `target`, a line each.

    Raises:
      UserError: there are no two classes, train lacks one, or a line or file fits no layout.
    """
    source, counts = layout.path, Counter[tuple[str, str]]()
    for entry in _entries(layout, skipped):
        counts[entry.label_name, entry.split] += 1
    names = tuple(sorted({name for name, _ in counts}))
    splits = frozenset(split for _, split in counts)
    if len(names) < 2 or not all(name.isprintable() for name in names):
        raise UserError(
            f"pictures lie in two or more class folders, or have two or more classes in a list, "
            f"with printable names. {source} has {list(names)}"
        )
    if TEST in splits and not splits & {TRAIN, ""}:
        raise UserError(f"{source} names test pictures but none to train on; add a train folder")
    for name in names:
        if not counts[name, TRAIN] + counts[name, ""]:
            present_in = " and ".join(split for split in SPLITS if counts[name, split])
            raise UserError(
                f"every class has pictures in train. Received: {name!r} in {present_in} of "
                f"{source} alone; add it to train, or remove it"
            )
    numbers = {name: number for number, name in enumerate(names)}
    notes = notes_on(layout, names)
    digest = hashlib.sha256(json.dumps([names, notes]).encode())
    with target.open("w", encoding="utf-8") as file:
        for entry in _entries(layout, skipped):
            line = json.dumps([entry.id, entry.address, numbers[entry.label_name], entry.split])
            digest.update(f"{line}\0{_state(entry.address)}\n".encode())
            file.write(line + "\n")
    return Listing(names, counts.total(), splits, digest.hexdigest(), notes)


def read_listed(layout: Layout, policy: Policy) -> EncodedSource:
    """Reads and checks every picture of a folder or list on this machine; keeps none in memory.

    Raises:
      UserError: pictures are bad and the policy does not leave them out.
    """
    skipped = Skipped(policy)
    names = tuple(sorted({entry.label_name for entry in _entries(layout, skipped)}))
    numbers = {name: number for number, name in enumerate(names)}

    def read_examples() -> Iterator[EncodedExample]:
        for entry in _entries(layout, skipped):
            encoded = read_encoded(entry.address)
            if isinstance(encoded, str):
                skipped.reject(entry.id, encoded, entry.address)
            else:
                label = numbers[entry.label_name]
                yield EncodedExample(entry.id, entry.split, label, entry.address, 0, encoded)

    return check_examples(read_examples(), names, "", skipped)


def _entries(layout: Layout, skipped: Skipped) -> Iterator[Entry]:
    """Each picture, in an order that does not depend on the file system."""
    return _in_folder(layout, skipped) if layout.kind == "pictures" else _in_list(layout, skipped)


def _state(address: str) -> str:
    """What shows that a local file changed; "" of any other."""
    try:
        status = Path(address).stat()
    except (OSError, ValueError):
        return ""
    # A file's own time can be set back, that of its inode cannot.
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _in_folder(layout: Layout, skipped: Skipped) -> Iterator[Entry]:
    root = layout.path
    for place in {root, *(path for _, path in layout.parts)}:
        for path in filter(looks_like_picture, entries(place)):
            skipped.reject(identity_of(path, root), _IN_A_CLASS, str(root))
    around = frozenset({os.path.realpath(root)})
    for split, top in layout.parts:
        for folder in folders(top):
            label_name = unicodedata.normalize("NFC", folder.name)
            for path in files(folder, around):
                if path.is_file():
                    yield Entry(identity_of(path, root), str(path.resolve()), label_name, split)
                else:
                    skipped.reject(identity_of(path, root), _PLAIN_FILE, str(root))


def _in_list(layout: Layout, skipped: Skipped) -> Iterator[Entry]:
    header = _header(layout.path)
    for number, address, label_name, split in _rows(layout.path):
        if number == header:
            received = "\t".join(filter(None, (address, label_name, split)))
            skipped.reject(f"line 1 ({received!r})", _HEADER, str(layout.path))
            continue
        if split and not split_of(split):
            raise _wrong_line(layout.path, number, f"{address}\t{label_name}\t{split}")
        remote = "://" in address
        full = address if remote else os.path.normpath(layout.path.resolve().parent / address)
        yield Entry(address, str(full), label_name, split_of(split) or "")


def _header(path: Path) -> int | None:
    """1 where the first line is no picture's: there is no such file, and no other of its class."""
    rows = _rows(path)
    first = next(rows, None)
    if first is None or first[0] != 1 or "://" in first[1] or (path.parent / first[1]).exists():
        return None
    return None if any(row[2] == first[2] for row in rows) else 1


def _rows(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Number, address, class and split of each line, without blanks around them."""
    try:
        with path.open(encoding="utf-8-sig") as file:  # spreadsheets begin a file with a BOM
            for number, line in enumerate(file, start=1):
                if "\0" in line:
                    raise UserError(
                        f"a list is UTF-8 text. {path} holds NUL in line {number}; save it so"
                    )
                if not line.strip():
                    continue
                address, *rest = (field.strip() for field in line.split("\t"))
                if len(rest) not in (1, 2) or not address or not rest[0]:
                    raise _wrong_line(path, number, line.strip())
                label_name = unicodedata.normalize("NFC", rest[0])
                yield number, address, label_name, rest[1] if rest[1:] else ""
    except UnicodeDecodeError as error:
        raise UserError(
            f"a list is UTF-8 text. {path} is not ({error.reason}); save it so"
        ) from None


def _wrong_line(path: Path, number: int, line: str) -> UserError:
    return UserError(
        f"a line reads address<TAB>class or address<TAB>class<TAB>split, with a split of "
        f"{', '.join(SPLITS)}. {path} line {number}: {line!r}"
    )


def notes_on(layout: Layout, names: tuple[str, ...]) -> tuple[str, ...]:
    """What is said of the layout, class folders, class names and a list's splits."""
    return (*layout.notes, *_notes(layout, names))


def _notes(layout: Layout, names: tuple[str, ...]) -> Iterator[str]:
    if layout.kind == "list":
        spellings = Counter(split for _, _, _, split in _rows(layout.path) if split_of(split))
        yield from (note.replace("file", "line") for note in spelling_notes(spellings))
    else:
        for _, top in layout.parts:
            for folder in folders(top):
                if not any(True for _ in files(folder)):
                    yield f"{identity_of(folder, layout.path)} is empty, and no class for it"
    by_case: dict[str, list[str]] = {}
    for name in names:
        by_case.setdefault(name.casefold(), []).append(name)
    for same in by_case.values():
        if len(same) > 1:
            yield f"{' and '.join(same)} are classes that differ in case alone"
