import pytest

from components.verdict import Threshold, Verdict


def bound(value: float, **changes) -> Threshold:
    given = {"slice": "overall", "metric": "accuracy", "change": False, "bound": 0.97}
    return Threshold(**given | changes, value=value)


def test_a_bound_that_is_met_exactly_holds():
    assert bound(0.97).passed and not bound(0.9699).passed
    assert not bound(float("nan")).passed


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (
            bound(0.9, slice="image/class/label=3"),
            "image/class/label=3 accuracy must be at least 0.97; it is 0.9000, 0.0700 short",
        ),
        (
            bound(-0.08, change=True, bound=-0.05),
            "overall accuracy must not fall more than 0.05 below the last blessed model; "
            "it changed by -0.0800, 0.0300 too much",
        ),
    ],
)
def test_only_broken_bounds_are_refusals(broken, sentence):
    verdict = Verdict(blessed=False, thresholds=(bound(0.98), broken), metrics={})
    assert verdict.refusals == (sentence,)
