"""Text of lists, line by line: tab-separated, CSV with any delimiter, JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from inception_finetune.components.errors import UserError

PLAIN_SUFFIXES: Final = (".tsv", ".txt")  # tabs alone part them, and nothing is quoted
LINE_SUFFIXES: Final = (".jsonl", ".ndjson")
LIST_SUFFIXES: Final = (*PLAIN_SUFFIXES, ".csv", *LINE_SUFFIXES)
_DELIMITERS: Final = (",", ";", "\t", "|")
_SAMPLE: Final = 50  # lines by which the delimiter is judged
_LONGEST_LINE: Final = 1 << 17  # characters; what the csv module takes in a field


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a BOM
            number = 0
            while line := file.readline(_LONGEST_LINE):
                number += 1
                if "\0" in line:
                    raise UserError(
                        f"List {path} is not UTF-8 text: line {number} holds NUL. Save it as UTF-8."
                    )
                if len(line) == _LONGEST_LINE:
                    raise UserError(
                        f"Line {number} of list {path} has {_LONGEST_LINE:,} characters or more, "
                        "and lists have a picture a line. Write it again."
                    )
                yield line
    except UnicodeDecodeError as error:
        raise UserError(
            f"List {path} is not UTF-8 text: {error.reason}. Save it as UTF-8."
        ) from None


def read_fields(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Iterates over number and stripped fields of each line that is not blank.

    Args:
      path: of the list.
      delimiter: one character.

    Raises:
      UserError: it is not UTF-8 text, or quotes are not closed.
    """
    plain = path.suffix.lower() in PLAIN_SUFFIXES
    reader = (
        csv.reader(_lines(path), delimiter=delimiter, quoting=csv.QUOTE_NONE)
        if plain
        else csv.reader(_lines(path), delimiter=delimiter)
    )
    try:
        for fields in reader:
            stripped = [field.strip() for field in fields]
            if any(stripped):
                while plain and len(stripped) > 3 and not stripped[-1]:
                    stripped.pop()
                yield reader.line_num, stripped
    except csv.Error as error:
        raise UserError(
            f"Line {reader.line_num} of list {path} cannot be read: {error}. Correct it."
        ) from None


def read_objects(path: Path) -> Iterator[tuple[int, dict]]:
    """Iterates over number and content of each line of JSON that is not blank.

    Args:
      path: of the list.

    Raises:
      UserError: it is not UTF-8 text, or a line is no JSON object.
    """
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, dict):
                raise UserError(
                    f"Line {number} of list {path} is no JSON object such as "
                    '{"file_name": "1.jpg", "label": "cat"}. Correct it.'
                )
            yield number, value


def find_delimiter(path: Path) -> str:
    """Returns the delimiter that gives all of the first lines the same number of columns.

    Args:
      path: of the list.

    Raises:
      UserError: it is not UTF-8 text.
    """
    if path.suffix.lower() in PLAIN_SUFFIXES:
        return "\t"
    widths = {}
    for delimiter in _DELIMITERS:
        counts = {len(row) for _, row in islice(read_fields(path, delimiter), _SAMPLE)}
        widths[delimiter] = next(iter(counts)) if len(counts) == 1 else 0
    best = max(_DELIMITERS, key=lambda delimiter: widths[delimiter])
    return best if widths[best] > 1 else ","
