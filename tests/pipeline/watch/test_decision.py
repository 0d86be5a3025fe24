"""When `watch` runs the pipeline, as a table of cases; and how intervals are written."""

import pytest

from inception_finetune.components.drift.settings import Watch
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.cli.watch import parse_interval
from inception_finetune.pipeline.watch.decision import Situation, decide

DRIFT = ("contrast (p = 1e-09) in 2026-11-28",)


@pytest.mark.parametrize(
    ("changes", "settings", "runs", "reason"),
    [
        ({}, {}, False, "no drift, and nothing else asks for a run"),
        ({"model": None}, {}, True, "no model is in service"),
        (
            {"model": None, "spans": 3, "fewest_spans": 7},
            {},
            False,
            "3 of 7 spans to train on; no model is in service",
        ),
        ({"alarms": DRIFT}, {}, True, f"drift: {DRIFT[0]}"),
        ({"alarms": ("a", "b", "c", "d", "e")}, {}, True, "drift: a, b, c and 2 more"),
        ({"new_pictures": 999}, {"new_pictures": 1000}, False, "no drift, and nothing"),
        ({"new_pictures": 1000}, {"new_pictures": 1000}, True, "1,000 new pictures"),
        ({"new_pictures": 10**6}, {}, False, "no drift, and nothing"),
        ({"age": 29}, {"max_age": 30}, False, "no drift, and nothing"),
        ({"age": 30}, {"max_age": 30}, True, "the model is 30 days old"),
        ({"age": None}, {"max_age": 1}, False, "no drift, and nothing"),
        (
            {"alarms": ("a",), "new_pictures": 8, "age": 9},
            {"new_pictures": 5, "max_age": 9},
            True,
            "drift: a; 8 new pictures; the model is 9 days old",
        ),
        (
            {"alarms": ("a",), "since_run": 2},
            {"cool_down": 3},
            False,
            "cool-down, 2 of 3 days since the last run; drift: a",
        ),
        ({"alarms": ("a",), "since_run": 3}, {"cool_down": 3}, True, "drift: a"),
        ({"alarms": ("a",), "since_run": 0}, {"cool_down": 0}, True, "drift: a"),
        ({"model": None, "since_run": 0}, {"cool_down": 1}, False, "cool-down, 0 of 1 days"),
        ({"alarms": ("a",), "running": "the run X"}, {}, False, "the run X has not ended"),
    ],
)
def test_the_pipeline_runs_when_it_must(changes, settings, runs, reason):
    quiet = {
        **{"model": "1", "spans": 30, "fewest_spans": 7, "alarms": (), "new_pictures": 10},
        **{"age": 1, "since_run": 5},
    }
    decision = decide(Situation(**quiet | changes), Watch(**settings))
    assert decision.runs is runs
    assert decision.reason.startswith(reason)


def test_intervals_are_numbers_with_a_unit():
    written = ["90s", "30m", "1h", "1.5h", "2d"]
    assert [parse_interval(one) for one in written] == [90, 1800, 3600, 5400, 172_800]


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "0s", "1w", "1h30m", "400d"])
def test_other_intervals_are_refused_in_a_line(text):
    with pytest.raises(UserError, match="of --every is none. Give one such as 90s"):
        parse_interval(text)
