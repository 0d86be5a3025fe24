"""Weights of classes and chances of examples, held to hand-made numbers."""

import numpy as np
import pytest

from inception_finetune.components.errors import UserError
from inception_finetune.trainer.imbalance import class_weights, sampling_chances
from inception_finetune.trainer.order import TrainingOrder

NAMES = ("cat", "dog", "owl")
LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def test_balanced_weights_are_inverse_to_the_numbers_and_have_mean_one():
    weights = class_weights("balanced", LABELS, NAMES)
    np.testing.assert_allclose(weights, 100 / (3 * np.array([60, 30, 10])), rtol=1e-6)
    assert weights[LABELS].mean() == pytest.approx(1)


def test_effective_numbers_grow_more_slowly():
    labels = np.repeat([0, 1, 2], [5000, 500, 50])
    weights = class_weights("effective", labels, NAMES)
    effective = (1 - 0.999 ** np.array([5000, 500, 50])) / 0.001
    np.testing.assert_allclose(weights / weights[0], effective[0] / effective, rtol=1e-5)
    assert weights[labels].mean() == pytest.approx(1)
    balanced = class_weights("balanced", labels, NAMES)
    assert 1 < weights[2] / weights[0] < balanced[2] / balanced[0]


def test_weights_by_name_are_taken_as_they_are():
    assert class_weights({"owl": 4.0}, LABELS, NAMES).tolist() == [1, 1, 4]
    assert class_weights("none", LABELS, NAMES) is None
    with pytest.raises(UserError, match="names 'cow', which no class .* cat, dog, owl"):
        class_weights({"cow": 2.0}, LABELS, NAMES)


def test_a_class_without_examples_has_no_weight():
    assert class_weights("balanced", np.array([0, 0, 2]), NAMES).tolist() == [0.75, 0, 1.5]


@pytest.mark.parametrize(
    ("balance", "expected"),
    [(1.0, [1 / 3, 1 / 3, 1 / 3]), (0.5, np.sqrt([60, 30, 10]) / np.sqrt([60, 30, 10]).sum())],
)
def test_sampling_lies_between_the_examples_and_the_classes(balance, expected):
    chances = sampling_chances(balance, LABELS)
    assert chances.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.bincount(LABELS, chances), expected, rtol=1e-6)
    order = TrainingOrder(100, 1, batch_size=100, seed=0, chances=chances)
    drawn = np.concatenate([LABELS[order.batch(step).examples] for step in range(200)])
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), expected, atol=0.01)


def test_without_balance_each_example_is_taken_once():
    assert sampling_chances(0.0, LABELS) is None
