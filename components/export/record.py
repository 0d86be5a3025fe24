"""What was measured of a model and its exports: what the command shows, and ``exports.json``.

Imports neither TensorFlow nor a runtime.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from inception_finetune.components import features
from inception_finetune.components.settings import Section

RECORD: Final = "exports.json"  # beside the files that passed
# Where a pushed version carries them. No part of the SavedModel, nor of its fingerprint.
PUSHED_IN: Final = f"{features.EXTRA_ASSETS}/exports"


class Measured(Section):
    """One row of the table: the SavedModel, or an export."""

    name: str  # of the format
    file: str | None = None  # name in the folder of exports; None where it was refused
    size: int | None = None  # bytes; this and what follows is None where there was no file to ask
    accuracy: float | None = None  # on the test pictures
    accuracy_loss: float | None = None  # share of the pictures; negative where it is better
    agreement: float | None = None  # share of the pictures that get the SavedModel's label
    difference: float | None = None  # the largest of a probability
    milliseconds: float | None = None  # for each picture, asked one at a time; the median
    peak_bytes: int | None = None  # of the process that loaded it and asked
    refusals: tuple[str, ...] = ()  # why it was left out; empty where it passed


class ExportRecord(Section):
    """A model and its exports."""

    fingerprint: str  # sha256 of the SavedModel
    test_pictures: int  # that all were asked
    calibration_pictures: int  # train pictures that ranges were measured on
    model: Measured  # the SavedModel itself
    exports: tuple[Measured, ...]  # in the order in which they were asked for

    @property
    def rows(self) -> tuple[Measured, ...]:
        """Of the table: the SavedModel, then its exports."""
        return (self.model, *self.exports)

    @property
    def files(self) -> Mapping[str, str]:
        """Names of the files that passed, by format."""
        return {row.name: row.file for row in self.exports if row.file is not None}

    @property
    def refused(self) -> Mapping[str, str]:
        """Why exports were left out, in a line by format."""
        return {row.name: "; ".join(row.refusals) for row in self.exports if row.refusals}


def read_record(folder: Path) -> ExportRecord:
    """Reads what `Export` has written.

    Args:
      folder: of the exports.
    """
    return ExportRecord.model_validate_json((folder / RECORD).read_text("utf-8"))
