"""Progress of a long operation: a bar on a terminal, one plain line in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

BYTES = "B"


class Advance(Protocol):
    """The callback that `progress` yields."""

    def __call__(self, n: int, note: str = "") -> None:
        """Reports progress.

        Args:
          n: how many more units are done.
          note: shown behind the bar on a terminal.
        """


@contextmanager
def progress(
    description: str, total: int | None, unit: str = "items", *, done: int = 0
) -> Iterator[Advance]:
    """Shows progress on stderr, so that stdout stays free for results.

    Without a terminal one line is written at the end, unless an exception was raised.

    Args:
      description: what is being done.
      total: number of units, or None where it is not known.
      unit: name of the unit; ``"B"`` is shown as kB, MB and so on.
      done: how many of `total` an earlier run has done.

    Yields:
      A callback that reports how many more units are done.
    """
    started = time.monotonic()
    console = Console(stderr=True)
    if not console.is_terminal:
        total_done = 0

        def count(n: int, note: str = "") -> None:
            nonlocal total_done
            total_done += n

        yield count
        amount = decimal(total_done) if unit == BYTES else f"{total_done:,} {unit}"
        seconds = time.monotonic() - started
        print(f"{description}: {amount} in {seconds:.1f} s", file=sys.stderr, flush=True)
        return
    with Progress(*_columns(unit), console=console) as bar:
        task = bar.add_task(description, total=total, completed=done, note="")

        def advance(n: int, note: str = "") -> None:
            bar.update(task, advance=n, note=note)

        yield advance
        if total is None:
            bar.update(task, total=bar.tasks[0].completed)


def _columns(unit: str) -> tuple[ProgressColumn, ...]:
    description = TextColumn("{task.description}", markup=False)
    if unit == BYTES:
        amount: tuple[ProgressColumn, ...] = (DownloadColumn(), TransferSpeedColumn())
    else:
        amount = (_CountColumn(unit), _RateColumn(unit))
    left = TimeRemainingColumn(elapsed_when_finished=True)
    return (
        description,
        BarColumn(),
        *amount,
        left,
        TextColumn("{task.fields[note]}", markup=False),
    )


class _CountColumn(ProgressColumn):
    """``1,024/12,000 images``, or ``1,024 images`` where no total is known."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        total = "" if task.total is None else f"/{int(task.total):,}"
        return Text(f"{int(task.completed):,}{total} {self._unit}", style="progress.download")


class _RateColumn(ProgressColumn):
    """``5,600 images/s`` over the last seconds, or over all of it once finished."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(
            "" if speed is None else f"{speed:,.0f} {self._unit}/s", style="progress.data.speed"
        )
