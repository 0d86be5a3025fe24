"""In what form `predict` writes its rows. Imports nothing heavy: the command line needs it."""

from enum import StrEnum
from pathlib import Path

from inception_finetune.components.errors import UserError


class Format(StrEnum):
    """Of the rows."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def chosen_format(form: Format | None, output: Path | None) -> Format:
    """Chooses the format of the rows.

    Args:
      form: the one that was asked for, if any.
      output: the file, if any.

    Returns:
      What was asked for; else what the file's name ends in; else a table.

    Raises:
      UserError: the name ends in none of the formats, or Parquet is to go to standard output.
    """
    if form is None and output is not None:
        suffix = output.suffix.removeprefix(".").lower()
        if suffix not in set(Format) - {Format.TABLE}:
            raise UserError(
                f"{output} does not say in what format it is to be written. Call it .jsonl, .csv "
                "or .parquet, or give --format."
            )
        form = Format(suffix)
    if form is Format.PARQUET and output is None:
        raise UserError("Parquet is no text for standard output. Give --output FILE.")
    return form or Format.TABLE
