"""What the fault suites found, as the table of docs/reliability.md.

A suite takes the fixture `recorder` and gives each fault's tries. Where REWRITE_REPORT is set, as
``make test-faults`` does, the rows replace those of the same suite in the table when all is done.
"""

from dataclasses import dataclass, field
from pathlib import Path

from helpers.paths import REPOSITORY

REPORT = REPOSITORY / "docs/reliability.md"
_HEAD = "| suite | fault | tries | survived | lost | message |"
_LONGEST = 150  # characters of a message


@dataclass
class Row:
    """Of one fault. Survived: the outcome was the one that was asked for."""

    tries: int = 0
    survived: int = 0
    lost: int = 0  # examples, artifacts or models that are gone without having been named
    message: str = ""  # what one of the tries was told


@dataclass
class Recorder:
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)  # by suite and fault
    tables: dict[str, list[tuple]] = field(default_factory=dict)  # figures of a suite, by its head

    def add(
        self,
        suite: str,
        fault: str,
        *,
        survived: int,
        tries: int = 1,
        lost: int = 0,
        message: str = "",
    ) -> None:
        row = self.rows.setdefault((suite, fault), Row())
        row.tries += tries
        row.survived += survived
        row.lost += lost
        row.message = row.message or message


def write_table(head: str, rows: list[tuple], report: Path = REPORT) -> None:
    """Puts figures in the place of those below `head`, a table's first line in the report."""
    text = report.read_text("utf-8")
    before, found, after = text.partition(f"{head}\n")
    assert found, f"{report} has no table {head}"
    rest = after.splitlines()
    while rest and rest[0].startswith("|"):
        rest.pop(0)
    lines = ["|" + "---:|" * (head.count("|") - 1)]
    lines += [f"| {' | '.join(map(_figure, row))} |" for row in rows]
    report.write_text(before + "\n".join([head, *lines, *rest]) + "\n", "utf-8")


def _figure(value: float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else f"{value}"


def write_report(rows: dict[tuple[str, str], Row], report: Path = REPORT) -> None:
    """Puts `rows` into the table; of other suites, what stands there stays."""
    before, _, table = report.read_text("utf-8").partition(_HEAD)
    run = {suite for suite, _ in rows}
    kept = [line for line in table.splitlines()[2:] if line.split("|")[1].strip() not in run]
    fresh = [
        f"| {suite} | {fault} | {row.tries} | {row.survived} | {row.lost} | {_cell(row.message)} |"
        for (suite, fault), row in rows.items()
    ]
    lines = [_HEAD, "|---|---|---:|---:|---:|---|", *sorted([*kept, *fresh])]
    report.write_text(before + "\n".join(lines) + "\n", "utf-8")


def _cell(message: str) -> str:
    """One short line without what a table, or this machine alone, would make of it."""
    text = " ".join(message.split()).replace("|", "/").replace("`", "'")
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return f"`{text}`" if text else ""
