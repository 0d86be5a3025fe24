"""The gate's settings, and that TFMA measures and bounds what they name."""

import numpy as np
import pytest
from sklearn import metrics

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.measures import accuracy_at_coverage, loss_p_value
from inception_finetune.components.evaluation.metrics import METRICS, Metric
from inception_finetune.components.evaluation.settings import Bound, Gate
from inception_finetune.components.evaluation.verdict import read_verdict
from inception_finetune.pipeline.config import load_config

MEASURED = {name: metric for name, metric in METRICS.items() if metric.measure}
NAMES = tuple(f"class {number}" for number in range(12))  # more than any top-k metric counts


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("gate.bounds.accuracy.at_least=0.9", "accuracy is bounded by gate.min_accuracy"),
        ("gate.bounds.f1.at_least=0.9", "smallest_recall, here it names f1"),
        ("gate.bounds.cross_entropy.at_least=0.9", "give cross_entropy.at_most"),
        ("gate.bounds.top_2_accuracy.at_most=0.9", "give top_2_accuracy.at_least"),
        ("gate.bounds.top_2_accuracy.at_least=1.1", "at least 0 and at most 1, here it is 1.1"),
        ("gate.bounds.cross_entropy.at_most=-1", "must be at least 0, here it is -1"),
        ("gate.bounds.cross_entropy.at_most=inf", "finite number"),
        ("gate.bounds.cross_entropy.tolerance=-1", "greater than or equal to 0"),
        ("gate.bounds.cross_entropy.every_class=true", "must have at_most or tolerance"),
        ("gate.bounds.cross_entropy.lowest=1", "unknown key gate.bounds.cross_entropy.lowest"),
        ("gate.bounds.macro_f1.at_most=0.5", "give macro_f1.at_least"),
        ("gate.bounds.macro_f1={at_least: 0.5, every_class: true}", "one number of all classes"),
        ("gate.bounds.set_coverage.tolerance=0.1", "set_coverage must have no tolerance"),
        ("gate.bounds.set_coverage.at_most=0.9", "give set_coverage.at_least"),
        ("gate.error_rate=0", "greater than 0"),
        ("gate.error_rate=0.6", "less than or equal to 0.5"),
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
    assert Gate(bounds={"smallest_recall": Bound(at_least=0.5)}).needs_every_class
    assert not Gate(bounds={"cross_entropy": Bound(at_most=1)}).needs_every_class


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Imbalanced labels [240], and the probabilities of candidate and baseline [240, 12]."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(NAMES)), [78, 36, 24, 20, 16, 14, 12, 10, 10, 8, 6, 6])
    random.shuffle(labels)
    candidate, baseline = random.dirichlet(np.ones(len(NAMES)), (2, 240)).astype(np.float32)
    candidate[np.arange(240), labels] += 0.15
    return labels, candidate / candidate.sum(axis=1, keepdims=True), baseline


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """``judge(gate, labels, candidate, baseline)``: TFMA's verdict of answers in a file."""
    import tensorflow as tf
    import tensorflow_model_analysis as tfma

    from inception_finetune.components.evaluation.eval_config import eval_config

    def judge(gate: Gate, labels, candidate, baseline, covered=None):
        folder = tmp_path_factory.mktemp("answers")
        with tf.io.TFRecordWriter(str(folder / "answers.tfrecord")) as writer:
            answers = zip(labels, candidate, baseline, strict=True)
            for place, (label, *shares) in enumerate(answers):
                example = tf.train.Example()
                values = example.features.feature
                values[features.LABEL].int64_list.value.append(label)
                values[features.CANDIDATE].float_list.value.extend(shares[0])
                values[features.BASELINE].float_list.value.extend(shares[1])
                if covered is not None:
                    values[features.CANDIDATE_COVERED].int64_list.value.append(int(covered[place]))
                writer.write(example.SerializeToString())
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
            eval_config=eval_config(gate, has_sets=covered is not None),
            data_location=str(folder / "answers.tfrecord"),
            output_path=str(folder / "output"),
        )
        return read_verdict(str(folder / "output"), NAMES)

    return judge


def test_tfma_measures_what_our_own_measures_do(answers, judge):
    labels, candidate, _ = answers
    verdict = judge(Gate(min_accuracy=0.0), *answers)
    assert "set_coverage" not in verdict.metrics  # without sets, nothing is said of them
    for metric in MEASURED.values():
        measured = metric.measure(labels, candidate)
        assert verdict.metrics[metric.name] == pytest.approx(measured, rel=1e-4), metric.name
        assert 0 < measured < (metric.largest or np.inf)
    assert verdict.blessed


def measured_by_class(metric: Metric, labels: np.ndarray, shares: np.ndarray) -> dict[str, float]:
    """By the slice's name; nothing of a metric over classes."""
    if metric.over_classes:
        return {}
    return {
        f"{features.LABEL}={name}": metric.measure(labels[labels == label], shares[labels == label])
        for label, name in enumerate(NAMES)
    }


@pytest.mark.parametrize("holds", [True, False])
def test_a_bound_of_each_metric_is_held_in_its_direction(answers, judge, holds):
    """On the value overall and by class, and on the change from the baseline."""
    labels, candidate, baseline = answers
    others = [metric for name, metric in MEASURED.items() if name != "accuracy"]
    bounds, expected = {}, {}
    for metric in others:
        sign = 1 if metric.higher_is_better else -1
        overall = metric.measure(labels, candidate)
        values = {"overall": overall, **measured_by_class(metric, labels, candidate)}
        weakest = min(values.values(), key=lambda value: sign * value)  # noqa: B023 - used here
        bounds[metric.name] = Bound(
            **{metric.bound_key: max(0.0, weakest - sign * (0.01 if holds else -0.01))},
            tolerance=0.5,
            every_class=not metric.over_classes,
        )
        expected[metric.name] = values, overall - metric.measure(labels, baseline)
    verdict = judge(Gate(min_accuracy=0.0, bounds=bounds), *answers)
    assert verdict.blessed == holds
    for metric in others:
        values, change_expected = expected[metric.name]
        ours = [one for one in verdict.thresholds if one.metric == metric.name]
        assert {one.upper for one in ours} == {not metric.higher_is_better}
        found = {one.slice: one.value for one in ours if not one.change}
        assert found == pytest.approx(values, rel=1e-4)
        assert all(one.passed for one in ours if not one.change) == holds
        [change] = [one for one in ours if one.change]
        assert change.value == pytest.approx(change_expected, rel=1e-3)
        assert abs(change.bound) == pytest.approx(0.5) and change.passed
        assert (change.bound < 0) == metric.higher_is_better


def test_metrics_over_classes_are_those_of_scikit_learn(answers):
    labels, candidate, _ = answers
    said = candidate.argmax(axis=1)
    expected = {
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, said),
        "macro_f1": metrics.f1_score(labels, said, average="macro"),
        "smallest_recall": metrics.recall_score(labels, said, average=None).min(),
    }
    for name, value in expected.items():
        assert METRICS[name].measure(labels, candidate) == pytest.approx(value)
    assert expected["balanced_accuracy"] != pytest.approx(metrics.accuracy_score(labels, said))


def test_metrics_over_classes_by_hand():
    """Of four classes, one without images is never, and one sometimes answered."""
    labels = np.array([0, 0, 0, 0, 1, 1])
    shares = np.eye(4, dtype=np.float32)[[0, 0, 0, 1, 1, 3]]
    measured = {name: METRICS[name].measure(labels, shares) for name in MEASURED}
    assert measured["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert measured["macro_f1"] == pytest.approx((6 / 7 + 1 / 2 + 0) / 3)
    assert measured["smallest_recall"] == 0.5


def answering(labels: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Probabilities [N, 12] that are right but on the images of the numbers `wrong`."""
    said = labels.copy()
    said[wrong] = (said[wrong] + 1) % len(NAMES)
    return np.eye(len(NAMES), dtype=np.float32)[said]


@pytest.mark.parametrize(
    ("lost", "tolerated", "blessed"),
    [(24, 0.0, True), (45, 0.0, False), (45, 0.05, True)],
)
def test_the_gate_refuses_only_what_is_shown_to_be_worse(judge, lost, tolerated, blessed):
    """Of 400 images, 20 are gained; 24 lost is chance, 45 is not, unless 20 may be lost."""
    labels = np.arange(400) % len(NAMES)
    baseline = answering(labels, np.arange(20))
    candidate = answering(labels, np.arange(20, 20 + lost))
    gate = Gate(min_accuracy=0.5, max_accuracy_loss=tolerated)
    verdict = judge(gate, labels, candidate, baseline)
    assert verdict.blessed == blessed
    [paired] = [one for one in verdict.thresholds if one.change]
    assert (paired.of, paired.metric, paired.slice) == ("p-value", "accuracy", "overall")
    assert (paired.bound, paired.tolerated) == (0.05, tolerated)
    assert paired.value == pytest.approx(loss_p_value(20, lost, 400, tolerated))
    assert paired.measured_change == pytest.approx((20 - lost) / 400, abs=1e-6)
    if not blessed:
        [refusal] = verdict.refusals
        assert refusal.startswith(
            f"overall accuracy must not fall more than {tolerated:g} below the last blessed model, "
            f"and a paired test shows that it did: it changed by {(20 - lost) / 400:+.4f}, p = "
        )


def test_accuracy_at_coverage_is_that_of_the_surest_answers_whatever_their_order():
    sure = np.array([0.9, 0.8, 0.8, 0.8, 0.3])
    hits = np.array([True, False, True, True, False])
    measured = {share: accuracy_at_coverage(sure, hits, share) for share in (0.2, 0.4, 0.8, 1.0)}
    # Of the three that are equally sure, two are right.
    assert measured == pytest.approx({0.2: 1.0, 0.4: (1 + 2 / 3) / 2, 0.8: 3 / 4, 1.0: 3 / 5})
    order = [4, 2, 1, 0, 3]
    assert accuracy_at_coverage(sure[order], hits[order], 0.4) == pytest.approx(measured[0.4])
    labels = np.zeros(10, np.int64)
    shares = np.full([10, 2], 0.2, np.float32)
    shares[:9, 0] = 0.8
    shares[9, 1] = 0.6  # the one that is wrong is the least sure
    assert METRICS["accuracy_at_coverage_90"].measure(labels, shares) == 1.0
    assert METRICS["accuracy"].measure(labels, shares) == pytest.approx(0.9)


def test_the_coverage_of_the_sets_is_what_was_noted_of_them_and_is_bounded(answers, judge):
    labels = answers[0]
    covered = np.random.default_rng(1).random(len(labels)) < 0.9
    share = covered.mean()
    by_class = {
        f"{features.LABEL}={name}": covered[labels == label].mean()
        for label, name in enumerate(NAMES)
    }
    assert min(by_class.values()) < share - 0.05
    for bound, every_class, holds in ((share, False, True), (share, True, False),
                                      (share + 0.01, False, False)):  # fmt: skip
        asked = Bound(at_least=float(bound) - 1e-6, every_class=every_class)
        gate = Gate(min_accuracy=0.0, bounds={"set_coverage": asked})
        verdict = judge(gate, *answers, covered)
        assert verdict.blessed is holds
        assert verdict.metrics["set_coverage"] == pytest.approx(share)
        found = {one.slice: one.value for one in verdict.thresholds if one.metric == "set_coverage"}
        expected = {"overall": share, **(by_class if every_class else {})}
        assert found == pytest.approx(expected)


def test_sets_that_are_not_made_are_not_bounded():
    with pytest.raises(UserError, match="gate.bounds.set_coverage needs confidence.coverage"):
        load_config("digits", ["confidence.coverage=null", "gate.bounds.set_coverage.at_least=0.8"])
    load_config("digits", ["gate.bounds.set_coverage.at_least=0.8"])
