"""Progress goes to stderr: one plain line in a log, a bar on a terminal."""

import io
import re

import pytest
from rich.console import Console

from inception_finetune.components import progress as progress_module
from inception_finetune.components.progress import progress


@pytest.mark.parametrize(
    ("unit", "amount"), [("images", "12,000 images"), ("B", "12.0 kB"), ("items", "12,000 items")]
)
def test_a_log_gets_one_line(capsys, unit, amount):
    with progress("Converting", 12_000, unit) as advance:
        for _ in range(12):
            advance(1000)
        assert capsys.readouterr().err == ""
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"Converting: {amount} in \d+\.\d s\n", err)


def test_work_that_failed_is_not_reported_as_done(capsys):
    with pytest.raises(RuntimeError), progress("Converting", 10) as advance:
        advance(5)
        raise RuntimeError
    assert capsys.readouterr().err == ""


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    screen = io.StringIO()

    def console(stderr: bool) -> Console:
        assert stderr
        return Console(file=screen, force_terminal=True, width=120, color_system=None)

    monkeypatch.setattr(progress_module, "Console", console)
    return screen


@pytest.mark.parametrize(
    ("total", "unit", "shown"),
    [
        (12_000, "images", "12,000/12,000 images"),
        (None, "images", "12,000/12,000 images"),
        (12_000, "B", "12.0/12.0 kB"),
    ],
)
def test_a_terminal_gets_a_bar(terminal, total, unit, shown):
    with progress("Converting", total, unit) as advance:
        advance(4000)
        advance(8000)
    last = next(line for line in reversed(terminal.getvalue().splitlines()) if "━" in line)
    assert "Converting ━━━" in last
    assert shown in last


def test_the_bar_counts_on(terminal):
    with progress("Reading", 100, "images") as advance:
        advance(25)
    assert "25/100 images" in terminal.getvalue()


def test_a_log_of_long_work_gets_lines_with_what_is_left(capsys, monkeypatch):
    times = iter([0.0, 30.0, 90.0, 120.0, 200.0, 200.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(times))
    with progress("Converting", lambda: 4000, "images") as advance:
        for _ in range(4):
            advance(1000)
    assert capsys.readouterr().err.splitlines() == [
        "Converting: 2,000 images of 4,000, 2 min left",
        "Converting: 4,000 images",
        "Converting: 4,000 images in 200.0 s",
    ]


def test_a_total_that_is_known_later_is_shown(terminal):
    expected = 0
    with progress("Reading", lambda: expected or None, "images") as advance:
        expected = 2000
        advance(1000)
        advance(1000)
    last = next(line for line in reversed(terminal.getvalue().splitlines()) if "━" in line)
    assert "2,000/2,000 images" in last
