"""`watch --once` on days of real digits: looks, decisions, runs, and what a kill leaves behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from helpers.digit_spans import overrides, write_digits
from inception_finetune.components.errors import UserError
from inception_finetune.components.steps import Step
from inception_finetune.pipeline import local
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.history.outcome import latest_pushed
from inception_finetune.pipeline.history.runs import read_latest_run, read_runs
from inception_finetune.pipeline.locks import watch_lock
from inception_finetune.pipeline.watch.lines import read_lines, write_line

pytestmark = pytest.mark.e2e
DAY = 250  # digits


def killed_after_its_decision(place, config) -> None:
    """Makes a pass in a process, and kills it with its workers once the run has begun."""
    code = "from inception_finetune.pipeline.cli.main import main; main()"
    command = [sys.executable, "-c", code, "watch", "--once", "-c", "scratch_cnn"]
    process = subprocess.Popen(
        [*command, *overrides(place)], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 300
        while not any(line.is_open for line in read_lines(config)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        for line in process.stderr:
            if line.startswith(Step.STATISTICS_GEN):
                break
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def test_days_are_looked_at_once_and_a_killed_pass_is_taken_up(tmp_path, run_command, monkeypatch):
    config = load_config("scratch_cnn", overrides(tmp_path))

    def watch():
        return run_command("watch", "--once", "-c", "scratch_cnn", *overrides(tmp_path))

    status, out, _ = watch()
    assert (status, out) == (0, f"no span matches dataset.spans={config.dataset.spans} yet\n")
    write_digits(tmp_path / "golden", 1500, 200)
    for day in (1, 2):
        write_digits(tmp_path / f"days/2026-11-0{day}", DAY * day, DAY)

    killed_after_its_decision(tmp_path, config)
    first, second = read_lines(config)
    assert (first.span, first.decision, first.look) == ("2026-11-01", "wait", 0)
    assert second.is_open and second.reason == "no model is in service"
    assert latest_pushed(config) is None

    status, out, err = watch()
    assert status == 0
    assert "no new span among 2" in out
    assert "running: no model is in service (2026-11-02)" in out
    assert "pictures read" not in out + err  # the killed pass has stored what it read
    assert read_lines(config)[0] == first
    [_, done] = read_lines(config)
    assert done == replace(
        second, verdict="pushed", run=2, version=done.version, accuracy=done.accuracy
    )
    assert latest_pushed(config).name == done.version
    assert done.accuracy == pytest.approx(read_latest_run(config).accuracy, abs=1e-6)
    assert done.accuracy > 0.5

    # A quiet day: one look, at the whole of the first look's level, and no run.
    write_digits(tmp_path / "days/2026-11-03", DAY * 3, DAY)
    status, out, _ = watch()
    third = read_lines(config)[2]
    assert status == 0 and third.alarms == "" and third.smallest_p > third.level
    assert (third.look, third.level) == (1, pytest.approx(0.01 / 2 / 12))
    assert (third.model, third.pictures) == (done.version, DAY)
    assert (third.decision, third.reason) == ("wait", "no drift, and nothing else asks for a run")
    assert watch()[1] == "no new span among 3\n" and len(read_lines(config)) == 3

    # Killed between the push and the verdict: the run is found, not made again.
    write_line(config, replace(done, verdict="", run=0, version="", accuracy=-1.0))
    with monkeypatch.context() as patched:
        patched.setattr(local, "run", None)
        status, out, _ = watch()
    assert status == 0 and "run 2 has ended before its verdict was written down" in out
    assert read_lines(config) == [first, done, third]

    # No statistic of a picture sees that digits stand upside down. The model does.
    [reference] = (tmp_path / "root/watch").iterdir()
    reference.write_bytes(reference.read_bytes()[:1000])  # a damaged one is measured again
    write_digits(tmp_path / "days/2026-11-04", DAY * 4, DAY, upside_down=True)
    status, out, err = watch()
    fourth = read_lines(config)[3]
    assert fourth.test == "features" and fourth.smallest_p <= fourth.level
    assert fourth.look == 2 and fourth.level == pytest.approx(0.01 / 6 / 12)
    assert fourth.decision == "run"
    assert fourth.reason.startswith("drift: features (p = ")
    assert fourth.reason.endswith(" in 2026-11-04")
    assert "pictures read" not in err and out.count("pictures read") == 1
    assert "images computed, 500 taken from an earlier run" in err
    assert (status, fourth.verdict) == (0, "pushed") and fourth.version != done.version
    assert list(read_latest_run(config).spans) == [f"2026-11-0{day}" for day in (1, 2, 3, 4)]

    # The new model has a life of its own; a run that fails is told, and not tried again at once.
    write_digits(tmp_path / "days/2026-11-05", DAY * 5, DAY)
    with monkeypatch.context() as patched:
        patched.setattr(local, "run", failing)
        status, _, err = run_command(
            *("watch", "--once", "-c", "scratch_cnn", *overrides(tmp_path)),
            *("watch.new_pictures=100", "watch.cool_down=1"),
        )
    fifth = read_lines(config)[4]
    assert status == 1 and err.splitlines()[-1] == "error: No room in x: it is full. Free some."
    assert (fifth.look, fifth.model) == (1, fourth.version)
    assert (fifth.verdict, fifth.why) == ("failed", "No room in x: it is full. Free some.")
    assert fifth.reason == "250 new pictures"
    assert watch()[0] == 0 and len(read_lines(config)) == 5
    # What has left the window is not kept until a run, of which there may be none for long.
    assert sorted(path.name for path in (tmp_path / "root/spans").iterdir()) == [
        *(f"2026-11-0{day}" for day in (2, 3, 4, 5)), "golden"
    ]  # fmt: skip

    status, out, _ = run_command("review", "-c", "scratch_cnn", *overrides(tmp_path))
    assert status == 0 and "2026-11-04" in out and "run 3 pushed" in out
    status, out, _ = run_command(
        "review", "timeline", "--no-open", "-c", "scratch_cnn", *overrides(tmp_path)
    )
    page = (tmp_path / "root/reviews/timeline.html").read_text()
    assert status == 0 and "reviews/timeline.html" in out
    assert fourth.version in page and "250 new pictures" in page
    assert len(read_runs(config)) == 3

    # What the model in service was trained on is forgotten: a pass has nothing to compare with.
    assert (
        run_command("data", "forget", "2026-11-02", "-c", "scratch_cnn", *overrides(tmp_path))[0]
        == 0
    )
    assert watch()[0] == 0 and len(read_lines(config)) == 5  # nothing new is there
    write_digits(tmp_path / "days/2026-11-06", DAY, DAY)
    status, out, err = watch()
    assert (status, err.splitlines()[-1]) == (
        1,
        f"error: Model {fourth.version} of {config.name} has nothing that new spans could be "
        "compared with: what run 3 was made of was removed, by `data forget`, `clean` or by hand. "
        "Run `inception-finetune run` with the same --config.",
    )
    assert "Traceback" not in err and len(read_lines(config)) == 5


def failing(config, *, verbose):
    raise UserError("No room in x: it is full. Free some.")


def test_one_watch_at_a_time(tmp_path, run_command):
    (tmp_path / "golden").mkdir()
    with watch_lock(tmp_path / "root"):
        status, _, err = run_command("watch", "--once", "-c", "scratch_cnn", *overrides(tmp_path))
    assert status == 1
    assert "one `watch` at a time works in a pipeline's root. Wait until it is done" in err


def test_data_without_spans_are_refused_before_anything_is_made(tmp_path, run_command):
    status, _, err = run_command("watch", "-c", "digits", f"root={tmp_path}/root")
    assert status == 1
    assert err == (
        "error: dataset.archive=digits is one data set, and `watch` looks at what comes in. "
        "Give dataset.spans.\n"
    )
    assert not (tmp_path / "root").exists()


def test_a_span_has_one_line(tmp_path):
    from inception_finetune.pipeline.watch.lines import Line

    config = load_config("digits", [f"root={tmp_path}"])
    line = Line(span="7 (version 1)", number=7, newest=9, pictures=12, smallest_p=1 / 3e12)
    line = write_line(config, line)
    assert line.smallest_p == 1 / 3e12
    assert read_lines(config) == [line] and line.id and not line.is_open
    with pytest.raises(UserError, match=r"Span 7 \(version 1\) of digits has a line"):
        write_line(config, Line(span="7 (version 1)", number=7, newest=9, pictures=12))
    other = load_config("digits", [f"root={tmp_path}", "name=another"])
    assert read_lines(other) == []
    write_line(other, replace(line, id=0, decision="run"))
    assert read_lines(other)[0].is_open and read_lines(config) == [line]
