"""Writes predictions as they come: a table for people, or rows for programs."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inception_finetune.components.io.whole_file import whole_file
from inception_finetune.components.shown_text import plain, visible
from inception_finetune.pipeline.prediction.formats import Format
from inception_finetune.pipeline.prediction.predict import Prediction
from inception_finetune.pipeline.prediction.rows import (
    SET,
    columns,
    is_text,
    parquet_schema,
    row_of,
    utf8_row,
)

_TABLE_ROWS: Final = 500  # of one table: what is held in memory
_GROUP_ROWS: Final = 5_000  # of one group of rows of Parquet
_WIDEST: Final = 100_000  # characters of a line that is not on a terminal
# Spreadsheets take a cell that begins so for a formula (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Writer(Protocol):
    """Takes predictions in their order."""

    def write(self, predictions: Sequence[Prediction]) -> None:
        """Writes them, or holds a bounded number of them back."""

    def finish(self) -> None:
        """Writes what was held back."""

    @property
    def changed(self) -> int:
        """Texts that are not written as they are."""


@contextmanager
def writing(form: Format, target: Path | None, top: int) -> Iterator[Writer]:
    """Opens what predictions are written to.

    Args:
      form: of the rows.
      target: a file, which is there whole or not at all; None for standard output.
      top: classes in a row.

    Yields:
      The writer; it is finished when the block has ended well.

    Raises:
      UserError: the file cannot be written.
    """
    if target is None:
        writer = _writer(form, sys.stdout, top)
        yield writer
        writer.finish()
        return
    with whole_file(target) as temporary:
        if form is Format.PARQUET:
            with _ParquetRows(temporary, top) as rows:
                yield rows
                rows.finish()
            return
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = _writer(form, stream, top)
            yield writer
            writer.finish()


def _writer(form: Format, stream: IO[str], top: int) -> Writer:
    if form is Format.TABLE:
        return TableWriter(stream, top)
    return _JsonLines(stream, top) if form is Format.JSONL else _CsvRows(stream, top)


class TableWriter:
    """Tables of a bounded number of rows; a terminal's width is kept, elsewhere lines are whole."""

    changed = 0

    def __init__(self, stream: IO[str], top: int, width: int | None = None) -> None:
        """Prepares the tables.

        Args:
          stream: what they are written to.
          top: classes in a row.
          width: of a terminal, in characters; None asks `stream`.
        """
        self._console = Console(file=stream, width=width)
        self._fits_terminal = width is not None or self._console.is_terminal
        if not self._fits_terminal:
            self._console = Console(file=stream, width=_WIDEST)
        self._top = top
        self._waiting: list[Prediction] = []

    def write(self, predictions: Sequence[Prediction]) -> None:
        """Prints a table as soon as it is full."""
        for prediction in predictions:
            self._waiting.append(prediction)
            if len(self._waiting) == _TABLE_ROWS:
                self.finish()

    def finish(self) -> None:
        """Prints the rows that wait."""
        if self._waiting:
            self._console.print(self._table(self._waiting))
            self._console.file.flush()
        self._waiting = []

    def _table(self, predictions: Sequence[Prediction]) -> Table:
        knows_truth = any(prediction.picture.truth is not None for prediction in predictions)
        table = Table()
        table.add_column("image", no_wrap=True)
        table.add_column("label")
        if knows_truth:
            table.add_column("truth")
        table.add_column("probabilities")
        for prediction in predictions:
            if prediction.error:
                label, last = plain("not read", style="red"), plain(prediction.error)
            else:
                label = plain(
                    f"{prediction.label_id} {prediction.label_name}"
                    f"{', or unknown' if prediction.unknown else ''}",
                    style="yellow" if prediction.unknown else "",
                )
                ranked = prediction.ranked(self._top)
                last = plain(", ".join(f"{name} {share:.3f}" for name, share in ranked))
            cells = [self._name(prediction.picture.name), label]
            if knows_truth:
                style = "red" if prediction.right is False else ""
                cells.append(plain(prediction.picture.truth or "", style))
            table.add_row(*cells, last)
        return table

    def _name(self, name: str) -> Text:
        """A name on one line: on a terminal it takes 2 of 5 parts of it, and loses its middle."""
        text = visible(name)
        room = max(self._console.width * 2 // 5, 16)
        if self._fits_terminal and len(text) > room:
            end = room * 2 // 3  # the file's own name stands there
            text = f"{text[: room - end - 1]}…{text[-end:]}"
        return Text(text)


class _JsonLines:
    """One JSON object a line; what is not printable is escaped, so names stay what they are."""

    changed = 0

    def __init__(self, stream: IO[str], top: int) -> None:
        self._stream = stream
        self._top = top

    def write(self, predictions: Sequence[Prediction]) -> None:
        for prediction in predictions:
            line = json.dumps(row_of(prediction, self._top), ensure_ascii=False)
            if not line.isprintable():
                line = "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in line)
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def finish(self) -> None:
        pass


class _CsvRows:
    """CSV with a header; texts are safe for terminals, and no formulas for spreadsheets."""

    def __init__(self, stream: IO[str], top: int) -> None:
        self.changed = 0
        self._stream = stream
        self._top = top
        self._buffer = io.StringIO()
        self._csv = csv.DictWriter(self._buffer, columns(top), lineterminator="\n")
        self._csv.writeheader()

    def write(self, predictions: Sequence[Prediction]) -> None:
        for prediction in predictions:
            row = row_of(prediction, self._top)
            self._csv.writerow({name: self._cell(name, value) for name, value in row.items()})
        self.finish()

    def finish(self) -> None:
        self._stream.write(self._buffer.getvalue())
        self._stream.flush()
        self._buffer.seek(0)
        self._buffer.truncate()

    def _cell(self, name: str, value: Any) -> Any:
        if name == SET and value is not None:
            value = json.dumps(value, ensure_ascii=False)
        elif value is None or not is_text(name):
            return value
        text = visible(value)
        if value.startswith(_FORMULA):
            text = f"'{text}"
        self.changed += text != value
        return text


class _ParquetRows:
    """A Parquet file, of groups of a bounded number of rows."""

    def __init__(self, path: Path, top: int) -> None:
        self.changed = 0
        self._path = path
        self._top = top
        self._schema = parquet_schema(top)
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> "_ParquetRows":
        from pyarrow import parquet

        self._file = parquet.ParquetWriter(self._path, self._schema)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, predictions: Sequence[Prediction]) -> None:
        for prediction in predictions:
            row = row_of(prediction, self._top)
            self._rows.append(utf8_row(row))
            self.changed += self._rows[-1] != row
        if len(self._rows) >= _GROUP_ROWS:
            self.finish()

    def finish(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows = []
