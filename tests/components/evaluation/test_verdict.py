"""The gate's verdict: every kind of bound that Evaluator knows is read as Evaluator reads it."""

import math

import numpy as np
import pytest
from google.protobuf import text_format
from scipy import stats
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
            bound(0.003, of="p-value", bound=0.05, tolerated=0.01, measured_change=-0.04),
            "overall accuracy must not fall more than 0.01 below the last blessed model, and a "
            "paired test shows that it did: it changed by -0.0400, p = 0.003 below 0.05",
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


BLESSED = Verdict(blessed=True, thresholds=(bound(0.98),), metrics={})


def test_a_blessing_of_a_model_that_did_worse_within_chance_says_so():
    assert BLESSED.chance(compared(gained=3, lost=4)) == (
        "the change of -0.0028 on 360 images is within chance: paired 95 % interval -0.0156 to "
        "+0.0123, McNemar's p = 1"
    )


def test_chance_is_not_named_where_it_decided_nothing():
    assert BLESSED.chance(None) is None
    assert BLESSED.chance(compared(gained=4, lost=3)) is None
    assert BLESSED.chance(compared(gained=0, lost=20)) is None  # within what is tolerated
    refused = Verdict(blessed=False, thresholds=(bound(0.9),), metrics={})
    assert refused.chance(compared(gained=3, lost=4)) is None


@pytest.mark.parametrize(
    ("gained", "lost", "p_value"),
    [(0, 0, 1.0), (4, 4, 163 / 256), (0, 4, 1 / 16), (0, 5, 1 / 32), (1, 7, 9 / 256), (5, 0, 1.0)],
)
def test_the_one_sided_test_is_mcnemars_exact_one(gained, lost, p_value):
    assert measures.loss_p_value(gained, lost, 360) == pytest.approx(p_value)


def test_a_tolerated_loss_is_tested_against_the_tolerance():
    changes = np.repeat([1.0, -1.0, 0.0], [10, 60, 930])
    student = stats.ttest_1samp(changes, -0.03, alternative="less").pvalue
    assert measures.loss_p_value(10, 60, 1000, 0.03) == pytest.approx(student)
    assert 0.005 < student < 0.05
    assert measures.loss_p_value(10, 60, 1000, 0.05) == pytest.approx(0.5, abs=0.01)
    # So few images that Student's test is too sure of itself: the exact one decides.
    assert measures.loss_p_value(0, 4, 1000, 0.0001) == pytest.approx(1 / 16)
    assert measures.loss_p_value(0, 4, 4, 0.5) == pytest.approx(1 / 16)


def refused_share(images: int, gained: float, lost: float, tolerated: float = 0.0) -> float:
    """Of 200 pairs of models, by the shares of images that the one alone gets right."""
    random = np.random.default_rng(7)
    outcomes = random.choice([1, -1, 0], (200, images), p=[gained, lost, 1 - gained - lost])
    found = [
        measures.loss_p_value(int((row == 1).sum()), int((row == -1).sum()), images, tolerated)
        for row in outcomes
    ]
    return float(np.mean(np.array(found) < 0.05))


@pytest.mark.parametrize("images", [360, 2000, 10_000])
def test_equally_good_models_are_seldom_refused(images):
    """By comparing the two accuracies, nearly half of them were."""
    assert refused_share(images, 0.04, 0.04) <= 0.08
    assert refused_share(images, 0.03, 0.05, tolerated=0.02) <= 0.08


@pytest.mark.parametrize(
    ("images", "least", "most"), [(360, 0.25, 0.6), (2000, 0.85, 1.0), (10_000, 1.0, 1.0)]
)
def test_models_that_are_two_points_worse_are_refused_where_there_are_images_to_see_it(
    images, least, most
):
    assert least <= refused_share(images, 0.03, 0.05) <= most


@pytest.mark.parametrize(("gained", "lost"), [(0, 5), (0, 6), (1, 7), (1, 8), (9, 3), (10, 1)])
def test_the_paired_interval_agrees_with_mcnemars_test(gained, lost):
    found = compared(gained, lost)
    assert (found.low <= 0 <= found.high) == (found.p_value >= 0.05)
    assert found.low < (gained - lost) / 360 < found.high or 0 in (gained, lost)
