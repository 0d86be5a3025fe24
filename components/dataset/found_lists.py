"""Lists of pictures as a data set, or found in a folder beside them, as competitions give them."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from inception_finetune.components.dataset import class_folders
from inception_finetune.components.dataset.column_names import (
    FOUND,
    ColumnNames,
    UnknownColumnError,
)
from inception_finetune.components.dataset.list_text import LIST_SUFFIXES
from inception_finetune.components.dataset.parts import Parts
from inception_finetune.components.dataset.split_names import (
    join_names,
    not_looked_at,
    open_without_test,
    spelling_notes,
    split_in_stem,
)
from inception_finetune.components.dataset.table import (
    Row,
    Table,
    open_table,
    resolve,
    rows,
)
from inception_finetune.components.dataset.tree import entries, folders
from inception_finetune.components.errors import UserError

_ANSWERS: Final = re.compile(r"submission|answer", re.IGNORECASE)  # lists with made-up classes
_SAMPLE: Final = 50  # rows by which a list is judged


class _Candidate(NamedTuple):
    path: Path
    table: Table | None
    sample: tuple[tuple[Row, Path], ...]  # rows whose picture exists
    reason: str  # why it is not used; empty if it may be


def is_list(source: Path, columns: ColumnNames = FOUND) -> bool:
    """Returns whether a file is a list, or a folder holds one of pictures that lie in it."""
    if not source.is_dir():
        return source.suffix.lower() in LIST_SUFFIXES
    usable = [one for one in _candidates(source, columns) if not one.reason]
    return bool(usable) and not _says_the_same_as_folders(source, usable)


def has_lists(source: Path) -> bool:
    """Returns whether a file is named as a list, or a folder holds one that is, of whatever."""
    if not source.is_dir():
        return is_list(source)
    return bool(_candidates(source, FOUND))


def unused_lists(source: Path, columns: ColumnNames = FOUND) -> list[str]:
    """Names the lists of a folder that cannot be used, each with the reason."""
    return [
        f"{one.path.name} ({one.reason})"
        for one in _candidates(source, columns)
        if one.reason and one.path.suffix.lower() != ".txt"
    ]


def find_lists(source: Path, columns: ColumnNames = FOUND) -> Parts:
    """Finds the lists of a folder, or takes the file as one.

    Args:
      source: the folder or file.
      columns: that are named; the others are found.

    Raises:
      UnknownColumnError: a list that is given by itself lacks a column that is named.
      UserError: several lists could be meant, or a list and class folders contradict each other.
    """
    if not source.is_dir():
        table = open_table(source, columns)
        if not table.labels:
            raise UserError(
                f"List {source} has the columns {', '.join(table.header)}: none is known to hold "
                "the classes. Set dataset.label_column, or call it label."
            )
        return Parts(_form([table], source.parent), source, (("", source),))
    candidates = _candidates(source, columns)
    usable = [one for one in candidates if not one.reason]
    if not usable:
        raise UserError(
            f"{source} holds no list that can be used: "
            f"{join_names([f'{one.path.name} ({one.reason})' for one in candidates])}. Give "
            "columns filename and label, and the pictures beside it."
        )
    named = [(split_in_stem(one.path.stem, one.path, "Pictures"), one) for one in usable]
    if len(usable) > 1 and not all(split for split, _ in named):
        raise UserError(
            f"{source} holds several lists: {join_names([one.path.name for one in usable])}. Give "
            "one of them as dataset.archive, or name them train, validation and test."
        )
    parts = [(split[0] if split else "", one.path) for split, one in named]
    parts_opened, notes = open_without_test(parts, "list")
    spellings = Counter(split[1] for split, _ in named if split)
    unused = [f"{one.path.name} ({one.reason})" for one in candidates if one.reason]
    hit = {place for one in usable for _, path in one.sample for place in (path, *path.parents)}
    unused += [f"folder {top.name}" for top in folders(source) if top.resolve() not in hit]
    tables = [one.table for one in usable if one.table]
    return Parts(
        _form(tables, source),
        source,
        parts_opened,
        (*notes, *spelling_notes(spellings), *not_looked_at(unused, "the list")),
    )


def _candidates(folder: Path, columns: ColumnNames) -> list[_Candidate]:
    return [
        _candidate(path, columns)
        for path in entries(folder)
        if path.suffix.lower() in LIST_SUFFIXES and path.is_file()
    ]


def _candidate(path: Path, columns: ColumnNames) -> _Candidate:
    if _ANSWERS.search(path.stem):
        return _Candidate(path, None, (), "a form for answers")
    try:
        table = open_table(path, columns)
        if not table.labels:
            return _Candidate(path, table, (), "without classes")
        sample = tuple(
            (row, found.resolve())
            for row in islice(rows(table), _SAMPLE)
            if row.label_name and (found := resolve(table, row.address))
        )
    except UnknownColumnError as error:
        return _Candidate(path, None, (), error.problem)
    except UserError:  # a text of any other kind
        return _Candidate(path, None, (), "no list of pictures")
    return _Candidate(path, table, sample, "" if sample else "none of its pictures is here")


def _says_the_same_as_folders(source: Path, usable: list[_Candidate]) -> bool:
    """Returns whether class folders hold the pictures, each in the folder of its class.

    Raises:
      UserError: there are class folders, and the list says otherwise.
    """
    try:
        parts = class_folders.find_folders(source)
    except UserError:
        return False
    resolved = parts._replace(parts=tuple((split, top.resolve()) for split, top in parts.parts))
    pairs = [
        (row.label_name, class_folders.class_of(resolved, path))
        for one in usable
        for row, path in one.sample
    ]
    held = {folder for _, folder in pairs}
    if None in held or len([top for _, place in parts.parts for top in folders(place)]) < 2:
        return False
    if all(label == folder for label, folder in pairs):
        return True
    names = join_names([one.path.name for one in usable])
    label, folder = next((label, folder) for label, folder in pairs if label != folder)
    raise UserError(
        f"{source} has class folders and a list ({names}) that contradicts them: {label!r} lies "
        f"in the folder {folder!r}. Set dataset.layout=list or dataset.layout=pictures."
    )


def _form(tables: list[Table], root: Path) -> str:
    names = ", ".join(table.path.name for table in tables)
    classes = {row.label_name for table in tables for row in rows(table)} - {""}
    places = {
        str(place.relative_to(root.resolve())): None
        for table in tables
        for place in table.places[:1]
        if place != root.resolve() and place.is_relative_to(root.resolve())
    }
    beside = f" beside {', '.join(places)}/" if places else ""
    count = "1 class" if len(classes) == 1 else f"{len(classes):,} classes"
    kind = "list" if len(tables) == 1 else "lists"
    return f"{kind} {names}{beside}, {count} ({tables[0].description})"
