"""A folder of images, or a list of their addresses, as lines that any worker can process.

`components.dataset.layout` decides which folders are splits, and `components.dataset.table` what
the columns of a list are. Addresses are whatever Beam's file systems open; relative ones begin at
the list, or at a folder beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from inception_finetune.components.dataset.bad_examples import Policy, Skipped
from inception_finetune.components.dataset.encoded_source import (
    EncodedExample,
    EncodedSource,
    check_examples,
)
from inception_finetune.components.dataset.layout import Layout
from inception_finetune.components.dataset.partition import read_encoded
from inception_finetune.components.dataset.split_names import spelling_notes, split_of
from inception_finetune.components.dataset.table import (
    Table,
    open_table,
    resolve,
    rows,
    wrong_line,
)
from inception_finetune.components.dataset.tree import (
    entries,
    files,
    folders,
    identity_of,
    looks_like_picture,
)
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import SPLITS, TEST, TRAIN

_PLAIN_FILE: Final = "it is no plain file, nor a folder that can be entered"
_IN_A_CLASS: Final = "it lies beside the class folders, not in one"
_HEADER: Final = "it is a header, and every line of a list is a picture"


class Entry(NamedTuple):
    """One image; `split` is "" where the source leaves it open."""

    id: str
    address: str
    label_name: str
    split: str


@dataclass(frozen=True)
class Listing:
    """Describes a listing: a file with a JSON array ``[id, address, label, split]`` a line."""

    label_names: tuple[str, ...]
    count: int
    splits: frozenset[str]  # that the source names
    fingerprint: str  # sha256 of ids, addresses, labels, and of local files' sizes and times
    notes: tuple[str, ...] = ()  # what was guessed or is not looked at, in words


def write_listing(layout: Layout, target: Path, skipped: Skipped) -> Listing:
    """Writes the images of a folder or list, one line each.

    Args:
      layout: the folder or list.
      target: path of the listing.
      skipped: receives what is no image.

    Raises:
      UserError: there are fewer than two classes, train lacks one, or a line or file fits no
        layout.
    """
    source, counts = layout.shown, Counter[tuple[str, str]]()
    for entry in _entries(layout, skipped):
        counts[entry.label_name, entry.split] += 1
    names = tuple(sorted({name for name, _ in counts}))
    splits = frozenset(split for _, split in counts)
    require_classes(source, names, counts)
    numbers = {name: number for number, name in enumerate(names)}
    notes = notes_on(layout, names)
    digest = hashlib.sha256(json.dumps([names, notes]).encode())
    if layout.unpacked_from:  # its files are new wherever it is unpacked again
        digest.update(file_sha256(layout.unpacked_from))
    with target.open("w", encoding="utf-8") as file:
        for entry in _entries(layout, skipped):
            line = json.dumps([entry.id, entry.address, numbers[entry.label_name], entry.split])
            if layout.unpacked_from:
                digest.update(f"{entry.id}\0{entry.label_name}\0{entry.split}\n".encode())
            else:
                digest.update(f"{line}\0{file_state(entry.address)}\n".encode())
            file.write(line + "\n")
    return Listing(names, counts.total(), splits, digest.hexdigest(), notes)


def require_classes(source: Path, names: tuple[str, ...], counts: Counter[tuple[str, str]]) -> None:
    """Checks that there are classes to learn.

    Args:
      source: for messages.
      names: of all classes.
      counts: number of pictures by class and split; "" is a split that is left open.

    Raises:
      UserError: there are fewer than two classes, or train lacks one.
    """
    splits = frozenset(split for _, split in counts)
    if len(names) < 2 or not all(name.isprintable() for name in names):
        raise UserError(
            f"{source} has the classes {list(names)}: two or more with printable names are "
            "needed. Add class folders, or classes to the list."
        )
    if TEST in splits and not splits & {TRAIN, ""}:
        raise UserError(f"{source} has test pictures but none to train on. Add a train folder.")
    for name in names:
        if not counts[name, TRAIN] + counts[name, ""]:
            present_in = " and ".join(split for split in SPLITS if counts[name, split])
            raise UserError(
                f"Class {name!r} of {source} has pictures in {present_in}, but none in train. Add "
                "some to train, or remove the class."
            )


def read_listed(layout: Layout, policy: Policy) -> EncodedSource:
    """Reads and checks every image of a folder or list on this machine; keeps none in memory.

    Args:
      layout: the folder or list.
      policy: what happens to bad images.

    Raises:
      UserError: images are bad and the policy does not skip them.
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
    """Iterates over the images in an order that does not depend on the file system."""
    return _in_folder(layout, skipped) if layout.kind == "pictures" else _in_list(layout, skipped)


def file_sha256(path: Path) -> bytes:
    """Returns the digest of a file's content; 1 GB takes a second."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def file_state(address: str) -> str:
    """Returns what changes with a local file; "" for a remote one."""
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
    for split_of_list, path in layout.parts:
        table = open_table(path, layout.columns)
        header = _unknown_header(table)
        here, root = path.resolve().parent, layout.path.resolve()
        root = root if root.is_dir() else here
        for number, address, label_name, split in rows(table):
            if number == header:
                received = "\t".join(filter(None, (address, label_name, split)))
                skipped.reject(f"line 1 ({received!r})", _HEADER, str(path))
                continue
            if split and not split_of(split):
                raise wrong_line(path, number, f"{address}\t{label_name}\t{split}")
            found = None if "://" in address else resolve(table, address)
            full = address if "://" in address else os.path.normpath(found or here / address)
            # In a list of several columns, addresses are often mere numbers.
            is_named = not table.is_plain and found and found.is_relative_to(root)
            identity = identity_of(found, root) if found and is_named else address
            if not address or not label_name:
                what = "class" if address else "picture"
                skipped.reject(f"line {number} of {path.name}", f"it has no {what}", str(path))
                continue
            yield Entry(identity, str(full), label_name, split_of(split) or split_of_list)


def _unknown_header(table: Table) -> int | None:
    """Returns 1 if the first line is a header: neither its file nor its class occurs elsewhere."""
    if table.header or not table.delimiter:
        return None
    first = next(rows(table), None)
    if first is None or first.number != 1 or "://" in first.address:
        return None
    if (table.path.parent / first.address).exists() or resolve(table, first.address):
        return None
    others = islice(rows(table), 1, None)
    return None if any(row.label_name == first.label_name for row in others) else 1


def notes_on(layout: Layout, names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns notes on the layout, class folders, class names and a list's splits."""
    return (*layout.notes, *_notes(layout, names))


def _notes(layout: Layout, names: tuple[str, ...]) -> Iterator[str]:
    if layout.kind == "list":
        tables = [open_table(path, layout.columns) for _, path in layout.parts]
        spellings = Counter(
            row.split for table in tables for row in rows(table) if split_of(row.split)
        )
        yield from (note.replace("file", "line") for note in spelling_notes(spellings))
        if remote := sum("://" in row.address for table in tables for row in rows(table)):
            yield f"{remote} of its addresses are remote, and not asked whether they change"
    else:
        for _, top in layout.parts:
            for folder in folders(top):
                if not any(True for _ in files(folder)):
                    yield f"{identity_of(folder, layout.path)} is empty, and no class for it"
    yield from case_notes(names)


def case_notes(names: tuple[str, ...]) -> Iterator[str]:
    """Iterates over notes on classes whose names differ in case alone."""
    by_case: dict[str, list[str]] = {}
    for name in names:
        by_case.setdefault(name.casefold(), []).append(name)
    for same in by_case.values():
        if len(same) > 1:
            yield f"{' and '.join(same)} are classes that differ in case alone"
