"""Corrections of a data set by people: a table of image ids, with another class or none."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from inception_finetune.components.errors import UserError

REMOVE: Final = "remove"  # instead of a class: the image is left out
REMOVED: Final = "removed"  # what was done then
COPY: Final = "left out: it shows the same as"  # a test image, which is named
COLUMNS: Final = ("id", "split", "label", "suggested", "reason", "correction")
_ID, _CORRECTION = "id", "correction"
_NAMED: Final = 5  # in a message


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


@dataclass(frozen=True)
class Corrections:
    """What a person has decided, by image id: a class' name, or `REMOVE`."""

    by_id: Mapping[str, str]
    where: str  # the file, for messages
    copies: Mapping[str, str] = field(default_factory=dict)  # id -> test image that it shows

    def concern(self, identity: str) -> bool:
        """Whether the image is corrected or left out.

        Args:
          identity: the image's id.
        """
        return identity in self.by_id or identity in self.copies

    def fingerprint(self, source: str) -> str:
        """Returns a fingerprint of the source as corrected; its own where nothing is.

        Args:
          source: fingerprint of the source.
        """
        if not (self.by_id or self.copies):
            return source
        parts = [sorted(one.items()) for one in (self.by_id, self.copies) if one]
        text = json.dumps([source, *parts])
        return hashlib.sha256(text.encode()).hexdigest()

    def label(self, identity: str, label: int, label_names: Sequence[str]) -> int | None:
        """Returns the corrected label of an image; None if it is to be left out.

        Args:
          identity: the image's id.
          label: as the source says.
          label_names: by label.

        Raises:
          UserError: the correction names no class.
        """
        if identity in self.copies:
            return None
        correction = self.by_id.get(identity)
        if correction is None:
            return label
        if correction in label_names:
            return label_names.index(correction)
        if correction == REMOVE:
            return None
        names = ", ".join(label_names[:_NAMED]) + (", …" if len(label_names) > _NAMED else "")
        raise UserError(
            f"Correction {correction!r} of image {identity} in {self.where} names no class. Write "
            f"one of {names}, or {REMOVE}."
        )

    def described(
        self, identity: str, label: int, corrected: int | None, label_names: Sequence[str]
    ) -> str:
        """Returns what was done to an image, in words.

        Args:
          identity: the image's id.
          label: as the source says.
          corrected: what `label` returned for it.
          label_names: by label.
        """
        if identity in self.copies:
            return f"{COPY} {self.copies[identity]}"
        return REMOVED if corrected is None else f"{label_names[label]} -> {label_names[corrected]}"

    def require_met(self, corrected: Mapping[str, str]) -> None:
        """Checks that every correction met its image.

        Args:
          corrected: what was done, by id.

        Raises:
          UserError: some did not: the table is of another data set.
        """
        if missing := sorted(set(self.by_id) - set(corrected)):
            named = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
            raise UserError(
                f"Corrections {self.where} name {len(missing)} images that the data set lacks: "
                f"{named}. Give the table of this data set."
            )


NO_CORRECTIONS: Final = Corrections({}, "")


def corrected_lines(corrected: Mapping[str, str], listed_in: str) -> list[str]:
    """Returns the lines that a run prints about corrections.

    Args:
      corrected: what was done, by id.
      listed_in: the file that lists all of it.
    """
    copies = sum(done.startswith(COPY) for done in corrected.values())
    removed = sum(done == REMOVED for done in corrected.values())
    lines = []
    if len(corrected) > copies:
        lines.append(
            f"{len(corrected) - copies - removed} labels corrected and {removed} images removed by "
            f"dataset.corrections, all listed in {listed_in}"
        )
    if copies:
        lines.append(
            f"{copies} images of train and validation left out, which show the same as images of "
            f"test (dataset.on_near_duplicate), all listed in {listed_in}"
        )
    return lines


def read_corrections(path: Path) -> Corrections:
    """Reads what a person has filled in; rows without a correction are left as they are.

    Args:
      path: a CSV with the columns id and correction, in UTF-8.

    Raises:
      UserError: the file cannot be read, lacks a column, or corrects an image in two ways.
    """
    found: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            if missing := [one for one in (_ID, _CORRECTION) if one not in columns]:
                raise UserError(
                    f"Corrections {path} lack the column {' and '.join(missing)}. Give the file "
                    "that `inception-finetune data check` writes."
                )
            for row in reader:
                correction = (row[_CORRECTION] or "").strip()
                if correction and found.setdefault(row[_ID], correction) != correction:
                    raise UserError(
                        f"Image {row[_ID]} has two corrections in {path}: {found[row[_ID]]} and "
                        f"{correction}. Keep one."
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"Corrections {path} cannot be read: {reason}. Give a CSV file in UTF-8."
        ) from None
    return Corrections(found, str(path))
