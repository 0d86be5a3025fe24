"""The gate's settings, and that TFMA measures and bounds what they name."""

import numpy as np
import pytest

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.metrics import METRICS
from inception_finetune.components.evaluation.settings import Bound, Gate
from inception_finetune.components.evaluation.verdict import read_verdict
from inception_finetune.pipeline.config import load_config

NAMES = tuple(f"class {number}" for number in range(12))  # more than any top-k metric counts


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("gate.bounds.accuracy.at_least=0.9", "accuracy is bounded by gate.min_accuracy"),
        ("gate.bounds.f1.at_least=0.9", "cross_entropy, here it names f1"),
        ("gate.bounds.cross_entropy.at_least=0.9", "give cross_entropy.at_most"),
        ("gate.bounds.top_2_accuracy.at_most=0.9", "give top_2_accuracy.at_least"),
        ("gate.bounds.top_2_accuracy.at_least=1.1", "at least 0 and at most 1, here it is 1.1"),
        ("gate.bounds.cross_entropy.at_most=-1", "must be at least 0, here it is -1"),
        ("gate.bounds.cross_entropy.at_most=.inf", "finite number"),
        ("gate.bounds.cross_entropy.tolerance=-1", "greater than or equal to 0"),
        ("gate.bounds.cross_entropy.every_class=true", "must have at_most or tolerance"),
        ("gate.bounds.cross_entropy.lowest=1", "unknown key gate.bounds.cross_entropy.lowest"),
    ],
)
def test_a_bound_that_does_not_fit_its_metric_is_refused(override, problem):
    with pytest.raises(UserError) as caught:
        load_config("digits", [override])
    assert problem in str(caught.value) and "\n" not in str(caught.value)


def test_a_class_bound_without_its_value_is_refused():
    with pytest.raises(ValueError, match=r"cross_entropy.every_class needs cross_entropy.at_most"):
        Gate(bounds={"cross_entropy": Bound(tolerance=0.1, every_class=True)})


def test_any_bound_of_every_class_needs_pictures_of_every_class():
    assert not Gate().needs_every_class
    assert Gate(every_class=True).needs_every_class
    assert Gate(bounds={"cross_entropy": Bound(at_most=1, every_class=True)}).needs_every_class


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels [240], and the probabilities of candidate and baseline [240, 12]."""
    random = np.random.default_rng(0)
    labels = np.arange(240) % len(NAMES)
    candidate, baseline = random.dirichlet(np.ones(len(NAMES)), (2, 240)).astype(np.float32)
    candidate[np.arange(240), labels] += 0.02
    return labels, candidate / candidate.sum(axis=1, keepdims=True), baseline


@pytest.fixture(scope="module")
def judged(answers, tmp_path_factory):
    """``judged(gate)``: the verdict of TFMA, which reads the answers from a file."""
    import tensorflow as tf
    import tensorflow_model_analysis as tfma

    from inception_finetune.components.evaluation.eval_config import eval_config

    folder = tmp_path_factory.mktemp("answers")
    with tf.io.TFRecordWriter(str(folder / "answers.tfrecord")) as writer:
        for label, candidate, baseline in zip(*answers, strict=True):
            example = tf.train.Example()
            values = example.features.feature
            values[features.LABEL].int64_list.value.append(label)
            values[features.CANDIDATE].float_list.value.extend(candidate)
            values[features.BASELINE].float_list.value.extend(baseline)
            writer.write(example.SerializeToString())

    def judge(gate: Gate, name: str):
        output = str(folder / name)
        models = [
            tfma.types.EvalSharedModel(
                model_name=model,
                model_type="materialized_prediction",
                is_baseline=model == "baseline",
            )
            for model in ("candidate", "baseline")
        ]
        tfma.run_model_analysis(
            eval_shared_model=models,
            eval_config=eval_config(gate),
            data_location=str(folder / "answers.tfrecord"),
            output_path=output,
        )
        return read_verdict(output, NAMES)

    return judge


def test_tfma_measures_what_our_own_measures_do(answers, judged):
    labels, candidate, _ = answers
    verdict = judged(Gate(min_accuracy=0.0, max_accuracy_loss=0.99), "measured")
    for metric in METRICS.values():
        measured = metric.measure(labels, candidate)
        assert verdict.metrics[metric.name] == pytest.approx(measured, rel=1e-4), metric.name
        assert 0 < measured < (metric.largest or np.inf)
    assert verdict.blessed


@pytest.mark.parametrize("name", [name for name in METRICS if name != "accuracy"])
@pytest.mark.parametrize("holds", [True, False])
def test_a_bound_of_each_metric_is_held_in_its_direction(answers, judged, name, holds):
    """On the value overall and by class, and on the change from the baseline."""
    labels, candidate, baseline = answers
    metric = METRICS[name]
    sign = 1 if metric.higher_is_better else -1
    by_class = {
        label: metric.measure(labels[labels == label], candidate[labels == label])
        for label in range(len(NAMES))
    }
    weakest = min(by_class.values(), key=lambda value: sign * value)
    bound = max(0.0, weakest - sign * (0.01 if holds else -0.01))
    gate = Gate(
        min_accuracy=0.0,
        max_accuracy_loss=0.99,
        bounds={name: Bound(**{metric.bound_key: bound}, tolerance=0.5, every_class=True)},
    )
    verdict = judged(gate, f"{name}-{holds}")
    assert verdict.blessed == holds
    ours = [one for one in verdict.thresholds if one.metric == name]
    assert [one.slice for one in ours if not one.change] == [
        "overall",
        *(f"{features.LABEL}={label}" for label in NAMES),
    ]
    for one in ours:
        assert one.upper != metric.higher_is_better
    values = {one.slice: one.value for one in ours if not one.change}
    for label, value in by_class.items():
        assert values[f"{features.LABEL}={NAMES[label]}"] == pytest.approx(value, rel=1e-4)
    [change] = [one for one in ours if one.change]
    expected = metric.measure(labels, candidate) - metric.measure(labels, baseline)
    assert change.value == pytest.approx(expected, rel=1e-3)
    assert change.bound == pytest.approx(-sign * 0.5) and change.passed
