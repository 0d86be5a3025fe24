"""Lists of pictures and classes as text: tab-separated, CSV with any delimiter, JSON lines.

Columns are found by their names, such as ``image`` and ``label``; without a header they are
address, class and perhaps split, in this order. Pictures are looked for beside the list and in the
folders beside it, and may be named without the end of their file's name.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from inception_finetune.components.dataset.column_names import (
    FOUND,
    ColumnNames,
    describe_columns,
    require_columns,
)
from inception_finetune.components.dataset.list_text import (
    LINE_SUFFIXES,
    PLAIN_SUFFIXES,
    find_delimiter,
    read_fields,
    read_objects,
)
from inception_finetune.components.dataset.split_names import split_words
from inception_finetune.components.dataset.tree import PICTURE_SUFFIXES, folders
from inception_finetune.components.errors import UserError

# Names of columns, in small letters and digits alone; of several, the first one here counts.
PICTURE_COLUMNS: Final = (
    *("filename", "filepath", "imagepath", "imagefile", "imagefilename", "imagename", "imgpath"),
    *("imgfile", "imgname", "path", "file", "image", "img", "picture", "photo", "images"),
    *("imageid", "imgid", "pictureid", "photoid", "id", "name"),
)
LABEL_COLUMNS: Final = (
    *("labelname", "classname", "categoryname", "label", "class", "category", "target", "breed"),
    *("species", "variety", "diagnosis", "dx", "labels", "classes", "labelid", "classid"),
    *("categoryid", "targetid", "type", "tag", "y"),
)
SPLIT_COLUMNS: Final = ("split", "subset", "partition", "set")
_SAMPLE: Final = 50  # rows by which a list is judged
_MOST_FOLDERS: Final = 20  # beside a list, in which its pictures are looked for
_ONE_HOT: Final = {"0": False, "0.0": False, "1": True, "1.0": True}


class Row(NamedTuple):
    """One line of a list, stripped of blanks; all but the number may be ""."""

    number: int
    address: str
    label_name: str
    split: str


@dataclass(frozen=True)
class Table:
    """What a list's lines mean.

    Columns are numbers, or keys of JSON lines; several label columns hold 1 in that of the class.
    """

    path: Path
    delimiter: str  # "" of JSON lines
    header: tuple[str, ...]  # names of the columns; empty where there are none
    picture: int | str
    labels: tuple[int | str, ...]  # empty: the list has no classes
    split: int | str | None
    places: tuple[Path, ...]  # folders in which pictures are looked for, in this order
    suffixes: tuple[str, ...]  # what their addresses may lack

    @property
    def is_plain(self) -> bool:
        """Whether it is tab-separated text without a header."""
        return not self.header and self.path.suffix.lower() in PLAIN_SUFFIXES

    @property
    def description(self) -> str:
        """Which columns are used, and which are not."""
        if not self.header:
            return "without a header: pictures, then classes"
        used = {self.picture, *self.labels, self.split}
        names = self.header
        shown = [str(one if isinstance(one, str) else names[one]) for one in self.labels]
        classes = f"columns {shown[0]!r} to {shown[-1]!r}" if shown[1:] else repr(shown[0])
        picture = self.picture if isinstance(self.picture, str) else names[self.picture]
        others = [name for i, name in enumerate(names) if i not in used and name not in used]
        return describe_columns(picture, classes, others)


def open_table(path: Path, columns: ColumnNames = FOUND) -> Table:
    """Finds out how a list is to be read, by its first lines.

    Args:
      path: of the list.
      columns: that are named; the others are found.

    Raises:
      UnknownColumnError: it lacks a column that is named.
      UserError: it is not UTF-8 text, or no column can be told to hold the pictures.
    """
    by_key = path.suffix.lower() in LINE_SUFFIXES
    if by_key:
        first = list(islice(read_objects(path), _SAMPLE))
        header = tuple(dict.fromkeys(key for _, row in first for key in row))
        keys: Sequence[int | str] = header
        delimiter, sample = "", [row for _, row in first]
    else:
        delimiter = find_delimiter(path)
        rows = [row for _, row in islice(read_fields(path, delimiter), _SAMPLE)]
        header = _named_header(path, rows, columns) if columns.given else _header(path, rows)
        sample = [dict(enumerate(row)) for row in (rows[1:] if header else rows)]  # type: ignore[misc]
        keys = range(len(header))
    picture: int | str = 0
    labels: tuple[int | str, ...] = (1,)
    split: int | str | None = 2
    if header or by_key:
        require_columns(columns, header, path)
        by_name = dict(zip(header, keys, strict=True))
        free = [(name, key) for name, key in zip(header, keys, strict=True) if name not in columns]
        found, label, split = (
            _column(free, names) if name is None else by_name[name]
            for name, names in (
                (columns.image, PICTURE_COLUMNS),
                (columns.label, LABEL_COLUMNS),
                (None, SPLIT_COLUMNS),
            )
        )
        rest = [key for key in keys if key not in (found, label, split)]
        if found is None and label is not None and len(rest) == 1:
            found, rest = rest[0], []
        if found is None:
            raise UserError(
                f"List {path} has the columns {', '.join(header) or 'nothing'}: none is known to "
                "name the pictures. Set dataset.image_column, or call it filename, and that of the "
                "classes label."
            )
        picture = found
        if label is not None:
            labels = (label,)
        elif len(rest) == 1:
            labels = (rest[0],)
        else:
            labels = tuple(rest) if _is_one_hot(sample, rest) else ()
    addresses = [str(row.get(picture, "")) for row in sample]
    places, suffixes = _places(path, addresses)
    return Table(path, delimiter, header, picture, labels, split, places, suffixes)


def rows(table: Table) -> Iterator[Row]:
    """Iterates over the lines of a list that hold something, without its header.

    Raises:
      UserError: it is not UTF-8 text, or a line does not fit the others.
    """
    numbered = _records(table)
    if table.header and table.delimiter:
        next(numbered, None)
    for number, values in numbered:
        if table.is_plain and (len(values) not in (2, 3) or not values[0] or not values[1]):
            raise wrong_line(table.path, number, "\t".join(map(str, values.values())))
        if not table.is_plain and table.picture not in values:
            raise UserError(
                f"Line {number} of list {table.path} has no picture: it holds "
                f"{len(values)} values. Correct it."
            )
        split = str(values.get(table.split, "") or "") if table.split is not None else ""
        label_name = unicodedata.normalize("NFC", _label_name(table, values))
        yield Row(number, _text(values[table.picture]), label_name, split.strip())


def resolve(table: Table, address: str) -> Path | None:
    """Searches for the file that an address means, beside the list and in the folders there.

    Args:
      table: the list.
      address: a path, perhaps without the end of the file's name.

    Returns:
      The file's path, or None if there is none.
    """
    for name in dict.fromkeys((address, address.replace("\\", "/"))):
        for place in table.places:
            for suffix in table.suffixes:
                try:
                    path = place / f"{name}{suffix}"
                    if path.is_file():
                        return path
                except (OSError, ValueError):  # no name that a file can have
                    return None
    return None


def wrong_line(path: Path, number: int, line: str) -> UserError:
    """Returns the error for a line of tab-separated text that fits no list."""
    return UserError(
        f"Line {number} of list {path} is {line!r}, not address<TAB>class or "
        "address<TAB>class<TAB>split with a split of train, validation, test. Correct it."
    )


def _records(table: Table) -> Iterator[tuple[int, dict]]:
    if not table.delimiter:
        yield from read_objects(table.path)
        return
    for number, fields in read_fields(table.path, table.delimiter):
        yield number, dict(enumerate(fields))


def _label_name(table: Table, values: dict) -> str:
    if len(table.labels) == 1:
        return _text(values.get(table.labels[0], ""))
    hot = [key for key in table.labels if _ONE_HOT.get(_text(values.get(key, "")))]
    if len(hot) != 1:
        return ""
    return hot[0] if isinstance(hot[0], str) else table.header[hot[0]]


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _header(path: Path, sample: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns the first line if it names columns."""
    if not sample or "://" in sample[0][0]:
        return ()
    first = sample[0]
    names = [folded(name) for name in first]
    is_known = [name in (*PICTURE_COLUMNS, *LABEL_COLUMNS) for name in names]
    others = [row[1] for row in sample[1:] if row[1:]]
    is_class = len(first) > 1 and first[1] in others  # a class may be called so
    if len(first) > 1 and any(is_known) and not is_class and not (path.parent / first[0]).exists():
        has_picture = any(name in PICTURE_COLUMNS for name in names)
        if has_picture or len(first) == 2:
            return tuple(first)
    if len(first) > 3 or len(first) < 2:
        if len(first) < 2 and is_known[0]:
            return tuple(first)
        if path.suffix.lower() not in PLAIN_SUFFIXES:
            raise UserError(
                f"List {path} begins with {', '.join(first[:5])!r}: no column is known to name "
                "the pictures. Begin it with a line that calls it filename, and that of the "
                "classes label, or name them by dataset.image_column and dataset.label_column."
            )
    return ()


def _named_header(
    path: Path, sample: Sequence[Sequence[str]], columns: ColumnNames
) -> tuple[str, ...]:
    """Returns the first line, which has the columns that are named."""
    first = tuple(sample[0]) if sample else ()
    require_columns(columns, first, path)
    return first


def folded(name: str) -> str:
    """Returns a column's name as `PICTURE_COLUMNS` and the others have it."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _column(header: Sequence[tuple[str, int | str]], names: Sequence[str]) -> int | str | None:
    """Returns the key of the first of `names` that is there, among columns of (name, key)."""
    keys = {folded(name): key for name, key in reversed(header)}  # of equal names the first
    return next((keys[name] for name in names if name in keys), None)


def _is_one_hot(sample: Sequence[dict], keys: Sequence[int | str]) -> bool:
    """Returns whether each row has 1 in one of the columns, and 0 in all others."""
    marks = [[_ONE_HOT.get(_text(row.get(key, ""))) for key in keys] for row in sample]
    return (
        len(keys) > 1
        and bool(marks)
        and all(None not in row and row.count(True) == 1 for row in marks)
    )


def _places(path: Path, addresses: Sequence[str]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Returns folders and suffixes, first those that fit most of the addresses."""
    here = Path(os.path.normpath(path.resolve().parent))
    suffixes = ("", *PICTURE_SUFFIXES, *(suffix.upper() for suffix in PICTURE_SUFFIXES))
    if path.suffix.lower() in PLAIN_SUFFIXES and not addresses:
        return (here,), ("",)
    below = [*folders(here), *(inner for top in folders(here) for inner in folders(top))]
    stem = path.stem.casefold()
    below.sort(key=lambda folder: (not folder.name.casefold().startswith(stem), len(folder.parts)))
    splits = split_words(stem)
    if splits:  # train.csv does not speak of what lies in test/
        below = [folder for folder in below if not split_words(folder.name) - splits]
    places = [here, *below[:_MOST_FOLDERS]]
    local = [address for address in addresses if address and "://" not in address]
    hits = {
        (place, suffix): sum(_is_file(place, f"{address}{suffix}") for address in local)
        for place in places
        for suffix in suffixes
    }
    places.sort(key=lambda place: -max(hits[place, suffix] for suffix in suffixes))
    best = {suffix: max(hits[place, suffix] for place in places) for suffix in suffixes}
    fitting = sorted(filter(best.get, suffixes), key=lambda suffix: -best[suffix])
    return tuple(places), tuple(fitting or [""])


def _is_file(folder: Path, name: str) -> bool:
    try:
        return (folder / name.replace("\\", "/")).is_file()
    except (OSError, ValueError):
        return False
