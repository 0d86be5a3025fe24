"""The gate's verdict: every kind of bound that Evaluator knows is read as Evaluator reads it."""

import math

import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_model_analysis.metrics.metric_types import MetricKey
from tensorflow_model_analysis.proto import config_pb2

from inception_finetune.components import features
from inception_finetune.components.evaluation import measures
from inception_finetune.components.evaluation.verdict import Threshold, Verdict, read_thresholds


def bound(value: float, **changes) -> Threshold:
    given = {"slice": "overall", "metric": "accuracy", "bound": 0.97}
    return Threshold(**given | changes, value=value)


def test_a_bound_that_is_met_exactly_holds():
    assert bound(0.97).passed and not bound(0.9699).passed
    assert bound(0.97, upper=True).passed and not bound(0.9701, upper=True).passed
    assert not bound(float("nan")).passed


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (
            bound(0.9, slice="image/class/label=3"),
            "image/class/label=3 accuracy must be at least 0.97; it is 0.9000, 0.0700 short",
        ),
        (
            bound(0.3, metric="cross_entropy", upper=True, bound=0.1),
            "overall cross-entropy must be at most 0.1; it is 0.3000, 0.2000 too much",
        ),
        (
            bound(-0.08, of="change", bound=-0.05),
            "overall accuracy must not fall more than 0.05 below the last blessed model; "
            "it changed by -0.0800, 0.0300 too much",
        ),
        (
            bound(0.01, of="change", bound=0.02),
            "overall accuracy must rise at least 0.02 above the last blessed model; "
            "it changed by +0.0100, 0.0100 short",
        ),
        (
            bound(0.2, metric="cross_entropy", of="change", upper=True, bound=0.0),
            "overall cross-entropy must not rise more than 0 above the last blessed model; "
            "it changed by +0.2000, 0.2000 too much",
        ),
        (
            bound(-0.1, metric="cross_entropy", of="relative change", upper=True, bound=-0.2),
            "overall cross-entropy must fall at least 20 % below the last blessed model; "
            "it changed by -10.0000 %, 10.0000 % short",
        ),
        (
            bound(math.nan, slice="image/class/label=3"),
            "image/class/label=3 accuracy must be at least 0.97; it was not measured",
        ),
    ],
)
def test_only_broken_bounds_are_refusals(broken, sentence):
    verdict = Verdict(blessed=False, thresholds=(bound(0.98), broken), metrics={})
    assert verdict.refusals == (sentence,)


ACCURACY, CHANGE, BASELINE = (
    MetricKey(name="accuracy", model_name=model, is_diff=is_diff)
    for model, is_diff in (("candidate", False), ("candidate", True), ("baseline", False))
)
SLICES = {
    (): {ACCURACY: 0.8, BASELINE: 0.5, CHANGE: 0.3},
    (("label", 0),): {ACCURACY: 0.6, BASELINE: 0.5, CHANGE: 0.1},
}


def config(thresholds: str) -> config_pb2.EvalConfig:
    return text_format.Parse(
        f"""model_specs {{ name: "candidate" label_key: "label" }}
        model_specs {{ name: "baseline" label_key: "label" is_baseline: true }}
        slicing_specs {{}}
        slicing_specs {{ feature_keys: "label" }}
        metrics_specs {{ model_names: "candidate" model_names: "baseline" metrics {{
          class_name: "SparseCategoricalAccuracy" config: '{{"name": "accuracy"}}'
          {thresholds} }} }}""",
        config_pb2.EvalConfig(),
    )


def overall(kind: str) -> str:
    return f"per_slice_thresholds {{ slicing_specs {{}} threshold {{ {kind} }} }}"


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        (
            overall("value_threshold { upper_bound { value: 0.7 } }"),
            [("overall", "value", True, 0.7, 0.8, False)],
        ),
        (
            overall("value_threshold { lower_bound { value: 0.7 } upper_bound { value: 0.9 } }"),
            [
                ("overall", "value", False, 0.7, 0.8, True),
                ("overall", "value", True, 0.9, 0.8, True),
            ],
        ),
        (
            overall("change_threshold { direction: LOWER_IS_BETTER absolute { value: 0.2 } }"),
            [("overall", "change", True, 0.2, 0.3, False)],
        ),
        (
            overall("change_threshold { direction: HIGHER_IS_BETTER relative { value: 0.5 } }"),
            [("overall", "relative change", False, 0.5, 0.6, True)],
        ),
        (
            "threshold { value_threshold { lower_bound { value: 0.7 } } }",  # of every slice
            [
                ("overall", "value", False, 0.7, 0.8, True),
                ("label=0", "value", False, 0.7, 0.6, False),
            ],
        ),
        (
            'per_slice_thresholds { slicing_specs { feature_values { key: "label" value: "9" } }'
            " threshold { value_threshold { lower_bound { value: 0.7 } } } }",  # of no image
            [("label=9", "value", False, 0.7, None, False)],
        ),
    ],
)
def test_each_kind_of_bound_is_read_with_its_value(thresholds, expected):
    found = [
        (one.slice, one.of, one.upper, one.bound, one.value, one.passed)
        for one in read_thresholds(config(thresholds), SLICES, ["cat"])
    ]
    assert [row[:4] + row[5:] for row in found] == [row[:4] + row[5:] for row in expected]
    for (*_, value, _), (*_, wanted, _) in zip(found, expected, strict=True):
        assert math.isnan(value) if wanted is None else value == pytest.approx(wanted)


@pytest.mark.parametrize(
    "thresholds",
    [
        overall("change_threshold { absolute { value: 0.2 } }"),
        "cross_slice_thresholds { cross_slicing_specs { baseline_spec {} } "
        "threshold { value_threshold { lower_bound { value: 0.7 } } } }",
    ],
)
def test_a_bound_that_cannot_be_read_does_not_pass(thresholds):
    with pytest.raises(ValueError, match="threshold (without|between)"):
        list(read_thresholds(config(thresholds), SLICES, ["cat"]))


def test_the_slice_of_a_class_bears_its_name():
    slices = {
        (): {ACCURACY: 0.8},
        ((features.LABEL, 1),): {ACCURACY: 0.6},
        ((features.LABEL, 1), ("image/format", "png")): {ACCURACY: 0.5},
        ((features.LABEL, 7),): {ACCURACY: 0.4},  # of no class
    }
    bounded = "threshold { value_threshold { lower_bound { value: 0.7 } } }"
    alone = (
        f'per_slice_thresholds {{ slicing_specs {{ feature_values {{ key: "{features.LABEL}" '
        f'value: "0" }} }} {bounded} }}'
    )

    def names(thresholds: str) -> list[str]:
        found = read_thresholds(config(thresholds), slices, ["cat", "brown bear"])
        return [one.slice for one in found]

    assert names(bounded) == [
        "overall",
        "image/class/label=brown bear",
        "image/class/label=brown bear, image/format=png",
        "image/class/label=7",
    ]
    assert names(alone) == ["image/class/label=cat"]  # of which there is no image


def compared(gained: int, lost: int, images: int = 360) -> measures.Comparison:
    hits = np.arange(images) >= lost
    others = np.where(np.arange(images) < images - gained, True, False)
    return measures.compare(hits, others)


def refused(change: float, tolerated: float = 0.0, *more: Threshold) -> Verdict:
    broken = bound(change, of="change", bound=-tolerated)
    return Verdict(blessed=False, thresholds=(broken, *more), metrics={})


def test_a_refusal_within_chance_says_so():
    said = refused(-1 / 360).chance("accuracy", compared(gained=3, lost=4))
    assert said == (
        "the change of -0.0028 on 360 images is within chance: paired 95 % interval -0.0156 to "
        "+0.0123, McNemar's p = 1"
    )


def test_a_refusal_that_is_no_chance_says_nothing():
    assert refused(-20 / 360).chance("accuracy", compared(gained=0, lost=20)) is None
    # Of a fall of 20 images, one of 10 is inside the interval; one of 2 is not.
    assert refused(-20 / 360, 15 / 360).chance("accuracy", compared(gained=5, lost=25))
    assert not refused(-20 / 360, 2 / 360).chance("accuracy", compared(gained=5, lost=25))


def test_chance_is_not_asked_where_another_bound_decides_or_none():
    close = compared(gained=3, lost=4)
    assert refused(-1 / 360, 0.0, bound(0.9)).chance("accuracy", close) is None
    assert refused(-1 / 360).chance("accuracy", None) is None
    blessed = Verdict(blessed=True, thresholds=(bound(0.98),), metrics={})
    assert blessed.chance("accuracy", close) is None


@pytest.mark.parametrize(("gained", "lost"), [(0, 5), (0, 6), (1, 7), (1, 8), (9, 3), (10, 1)])
def test_the_paired_interval_agrees_with_mcnemars_test(gained, lost):
    found = compared(gained, lost)
    assert (found.low <= 0 <= found.high) == (found.p_value >= 0.05)
    assert found.low < (gained - lost) / 360 < found.high or 0 in (gained, lost)
