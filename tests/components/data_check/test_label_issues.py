"""Labels that features contradict are found, in every split; copies do not judge each other."""

import numpy as np

from inception_finetune.components.data_check.label_issues import examine_labels

_CLASSES, _EACH = 4, 60


def _data(spread: float = 0.7):
    """Four clouds of points with labels, and splits of 70, 10 and 20 %."""
    random = np.random.default_rng(0)
    centres = 3.0 * random.normal(size=(_CLASSES, 12))
    labels = np.repeat(np.arange(_CLASSES), _EACH)
    values = centres[labels] + spread * random.normal(size=(len(labels), 12))
    splits = np.tile(["train"] * 7 + ["validation"] + ["test"] * 2, len(labels) // 10)
    return values.astype(np.float32), labels, splits


def _examine(values, labels, splits, groups=None):
    groups = np.arange(len(labels)) if groups is None else groups
    calls = []
    found = examine_labels(
        {"block": values}, labels, splits, groups, 0, lambda n, note="": calls.append(n)
    )
    return found, calls


def test_changed_labels_are_found_with_their_true_class():
    values, truth, splits = _data()
    labels = truth.copy()
    changed = [3, 18, 77, 79, 150]  # of all splits
    assert set(splits[changed]) == {"train", "validation", "test"}
    labels[changed] = (truth[changed] + 1) % _CLASSES
    found, calls = _examine(values, labels, splits)
    assert {issue.image for issue in found.issues} == set(changed)
    assert all(issue.suggested == truth[issue.image] for issue in found.issues)
    assert sum(issue.is_likely for issue in found.issues) >= 3
    given = [issue.given_probability for issue in found.issues]
    assert given == sorted(given)
    assert found.block == "block"
    assert found.accuracy > 0.97
    assert found.pairs == ()
    assert sum(calls) == 6


def test_right_labels_are_not_doubted():
    found, _ = _examine(*_data())
    assert found.issues == ()


def test_an_image_is_not_judged_by_its_copies():
    values, truth, splits = _data()
    labels = truth.copy()
    same = np.flatnonzero((truth == 0) & (splits == "train"))[:6]
    values[same] = values[same[0]]
    labels[same] = 1  # six equal images that vouch for each other
    groups = np.arange(len(labels))
    groups[same] = same[0]
    found, _ = _examine(values, labels, splits, groups)
    assert set(same) <= {issue.image for issue in found.issues}


def test_classes_by_chance_are_not_told_apart():
    values, labels, splits = _data()
    values[labels == 1] = np.random.default_rng(1).permutation(values[labels == 0])
    found, _ = _examine(values, labels, splits)
    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 1)]
    assert found.pairs[0].auc < 0.65


def test_the_better_block_is_taken():
    values, labels, splits = _data()
    noise = np.random.default_rng(2).normal(size=values.shape).astype(np.float32)
    found = examine_labels(
        {"noise": noise, "good": values},
        labels,
        splits,
        np.arange(len(labels)),
        0,
        lambda n, note="": None,
    )
    assert found.block == "good"


def test_a_class_of_one_image_is_named_and_the_rest_examined():
    values, labels, splits = _data()
    labels[0] = _CLASSES
    found, _ = _examine(values, labels, splits)
    assert found.unexamined == (_CLASSES,)
    assert found.accuracy > 0.97


def test_one_class_alone_is_not_examined():
    values, labels, splits = _data()
    assert _examine(values, np.zeros_like(labels), splits)[0] is None
