"""What a decision hangs on, as the metadata and the spans have it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from inception_finetune.components.drift.look import TestResult
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.spans import ChosenSpans, Span, span_number
from inception_finetune.pipeline.watch.lines import Line
from inception_finetune.pipeline.watch.reference import ModelInService
from inception_finetune.pipeline.watch.watch import in_words, situation_of


def line(number: int, **values) -> Line:
    known = {"span": str(number), "number": number, "newest": number, "pictures": 10 * number}
    return Line(**known | values)


def chosen(*numbers: int, newest: int | None = None) -> ChosenSpans:
    spans = [Span(number, None, Path(str(number)), False) for number in numbers]
    held_out = None if newest is None else Span(newest, None, Path(str(newest)), False)
    return ChosenSpans(spans, held_out, len(numbers), [])


def model(*spans: int, config=None) -> ModelInService:
    run = SimpleNamespace(spans={str(number): 1 for number in spans}, config=config)
    return ModelInService("v1", Path("v1"), run)


@pytest.fixture
def config(tmp_path):
    return load_config("digits", [f"root={tmp_path}"])


def test_new_pictures_are_those_of_the_window_that_the_model_does_not_know(config):
    lines = [line(number, model="v1") for number in range(1, 8)]
    found = situation_of(config, chosen(4, 5, 6, 7), model(1, 2, 3, 4, 5), lines)
    assert (found.model, found.spans, found.new_pictures, found.age) == ("v1", 4, 130, 2)
    assert found.since_run is None  # neither a run nor a line of one


def test_alarms_count_of_this_model_and_since_the_last_run(config):
    lines = [
        line(1, model="v0", alarms="old model's"),
        line(2, model="v1", alarms="before the run"),
        line(3, model="v1", alarms="the run's", decision="run", verdict="refused"),
        line(4, model="v1", alarms="contrast (p = 1e-09)"),
        line(5, model="v1"),
    ]
    found = situation_of(config, chosen(4, 5), model(1), lines)
    assert found.alarms == ("contrast (p = 1e-09) in 4",)
    assert (found.since_run, found.running) == (2, "")
    open_run = situation_of(config, chosen(4, 5), model(1), [*lines[:2], line(3, decision="run")])
    assert open_run.running == "the run that was decided with 3"


def test_what_a_run_that_failed_was_to_answer_still_counts(config):
    lines = [
        line(1, model="v1", alarms="before the last run"),
        line(2, model="v1", decision="run", verdict="pushed"),
        line(3, model="v1", alarms="a new class", decision="run", verdict="failed"),
        line(4, model="v1"),
    ]
    found = situation_of(config, chosen(3, 4), model(1), lines)
    assert found.alarms == ("a new class in 3",)
    assert (found.since_run, found.running) == (1, "")  # but not before the cool-down is over


def test_late_data_do_not_turn_back_the_days(config):
    late = line(2, span="2 (version 7)", newest=6)
    found = situation_of(config, chosen(2, 5, 6), model(3), [line(6, decision="run"), late])
    assert (found.age, found.since_run) == (3, 0)


def test_a_span_that_is_held_out_was_not_trained_on(tmp_path):
    config = load_config(
        "digits", [f"root={tmp_path}", "dataset.spans=x/{SPAN}", "dataset.newest_as_test=true"]
    )
    lines = [line(number) for number in (1, 2, 3)]
    found = situation_of(config, chosen(1, 2, newest=3), model(1, 2), lines)
    assert (found.new_pictures, found.age, found.spans) == (20, 2, 2)


def test_which_span_was_held_out_is_a_matter_of_the_models_own_run(tmp_path, config):
    held_out = load_config(
        "digits", [f"root={tmp_path}", "dataset.spans=x/{SPAN}", "dataset.newest_as_test=true"]
    )
    lines = [line(number) for number in (1, 2, 3)]
    by_run = model(1, 2, config=held_out)
    assert situation_of(config, chosen(1, 2, 3), by_run, lines).new_pictures == 50
    by_run = model(1, 2, config=config)
    assert situation_of(held_out, chosen(1, 2, newest=3), by_run, lines).new_pictures == 0


def test_without_a_model_there_is_no_age(config):
    found = situation_of(config, chosen(1, 2), None, [line(1), line(2)])
    assert (found.model, found.age, found.new_pictures, found.alarms) == (None, None, 30, ())


@pytest.mark.parametrize(
    ("name", "number"),
    [("7", 7), ("7 (version 2)", 7), ("1970-01-02", 1), ("2026-11-28 (version 3)", 20785)],
)
def test_spans_have_tfxs_numbers(name, number):
    assert span_number(name) == number


def test_alarms_are_the_most_unusual_tests_in_words():
    tests = [TestResult(name, p) for name, p in (("a", 1e-5), ("b", 3e-9), ("c", 0.0), ("d", 1e-6))]
    assert in_words(tests) == "c, b (p = 3e-09), d (p = 1e-06), 1 more"
    assert in_words(tests[:1]) == "a (p = 1e-05)" and in_words([]) == ""
