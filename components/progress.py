"""Progress of a long operation: a bar on a terminal, a plain line each minute in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

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
_LINE_EVERY: Final = 60.0  # seconds, in a log


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
    description: str,
    total: int | None | Callable[[], int | None],
    unit: str = "items",
    *,
    done: int = 0,
) -> Iterator[Advance]:
    """Shows progress on stderr, so that stdout stays free for results.

    Without a terminal one line is written each minute, and one at the end unless an exception was
    raised.

    Args:
      description: what is being done.
      total: number of units, or None where it is not known; or a function that knows it later.
      unit: name of the unit; ``"B"`` is shown as kB, MB and so on.
      done: how many of `total` an earlier run has done.

    Yields:
      A callback that reports how many more units are done.
    """
    console = Console(stderr=True)
    known = total if callable(total) else lambda: total
    if not console.is_terminal:
        yield from _lines(description, known, unit, done)
        return
    with Progress(*_columns(unit), console=console) as bar:
        task = bar.add_task(description, total=known(), completed=done, note="")

        def advance(n: int, note: str = "") -> None:
            bar.update(task, advance=n, total=known(), note=note)

        yield advance
        if known() is None:
            bar.update(task, total=bar.tasks[0].completed)


def _lines(
    description: str, total: Callable[[], int | None], unit: str, before: int
) -> Iterator[Advance]:
    started = last = time.monotonic()
    done = 0

    def amount() -> str:
        return decimal(done) if unit == BYTES else f"{done:,} {unit}"

    def count(n: int, note: str = "") -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if now - last < _LINE_EVERY:
            return
        last = now
        left, line = (total() or 0) - before - done, f"{description}: {amount()}"
        if left > 0:
            minutes = left / done * (now - started) / 60
            line += f" of {decimal(left + done) if unit == BYTES else f'{left + done:,}'}"
            line += f", {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"
        print(line, file=sys.stderr, flush=True)

    yield count
    seconds = time.monotonic() - started
    print(f"{description}: {amount()} in {seconds:.1f} s", file=sys.stderr, flush=True)


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
