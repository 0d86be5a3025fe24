"""Corrections of a data set by people: a table of image ids, with another class or none."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from inception_finetune.components.errors import UserError

REMOVE: Final = "remove"  # instead of a class: the image is left out
COLUMNS: Final = ("id", "split", "label", "suggested", "reason", "correction")
_ID, _CORRECTION = "id", "correction"


class Row(NamedTuple):
    """A line of the table, as `data check` writes it; `correction` is a person's to fill."""

    id: str
    split: str
    label: str
    suggested: str  # a class, or REMOVE
    reason: str
    correction: str = ""


def corrections_text(rows: Iterable[Row]) -> str:
    """Returns the table as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue()


def read_corrections(path: Path) -> Mapping[str, str]:
    """Reads what a person has filled in; other rows are left as they are.

    Args:
      path: a CSV with the columns id and correction, in UTF-8.

    Returns:
      The class, or `REMOVE`, by image id.

    Raises:
      UserError: the file cannot be read, lacks a column, or names an image twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if missing := [
                one for one in (_ID, _CORRECTION) if one not in (reader.fieldnames or ())
            ]:
                raise UserError(
                    f"Corrections {path} lack the column {' and '.join(missing)}. Give the file "
                    "that `inception-finetune data check` writes."
                )
            found: dict[str, str] = {}
            for row in reader:
                correction = (row[_CORRECTION] or "").strip()
                if not correction:
                    continue
                if found.setdefault(row[_ID], correction) != correction:
                    raise UserError(
                        f"Image {row[_ID]} has two corrections in {path}: {found[row[_ID]]} and "
                        f"{correction}. Keep one."
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Cannot read the corrections {path}: {reason}. Give a CSV file.") from None
    return found


def correction_number(correction: str, label_names: Sequence[str], where: str) -> int | None:
    """Returns the label that a correction names; None if the image is to be left out.

    Args:
      correction: a class' name, or `REMOVE`.
      label_names: by label.
      where: the image and the file, for messages.

    Raises:
      UserError: there is no such class.
    """
    if correction in label_names:
        return label_names.index(correction)
    if correction == REMOVE:
        return None
    raise UserError(
        f"Correction {correction!r} of {where} names no class. Write one of "
        f"{', '.join(label_names[:5])}{', …' if len(label_names) > 5 else ''} or {REMOVE}."
    )
