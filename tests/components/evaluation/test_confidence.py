"""Temperature, prediction sets and the distance of unknown pictures, against made truths."""

import numpy as np
import pytest
from scipy import special, stats

from inception_finetune.components.evaluation.confidence import (
    fit_space,
    fit_temperature,
    prediction_sets,
    smallest_in_set,
    unknown_from,
)
from inception_finetune.components.evaluation.measures import calibration


def answers(count: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits ``[count, 10]`` whose softmax at `temperature` is how likely each class is."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=4, size=(count, 10))
    shares = special.softmax(logits / temperature, axis=1)
    labels = (random.random((count, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    return logits, np.minimum(labels, 9)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_the_truth_is_found_and_mends_the_calibration(temperature):
    logits, labels = answers(20_000, temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    errors = [
        calibration(shares.max(axis=1), shares.argmax(axis=1) == labels).expected_error
        for shares in (special.softmax(logits / one, axis=1) for one in (1.0, found))
    ]
    assert errors[1] < 0.01
    assert temperature == 1.0 or errors[0] > 5 * errors[1]


def test_few_answers_and_answers_that_are_all_right_move_the_temperature_little():
    """By hand: 8 answers of two classes, 2 apart; log T is where both parts' slopes are equal."""
    logits = np.tile([2.0, 0.0], (8, 1))
    found = fit_temperature(logits, np.zeros(8, int))
    wrong = 1 / (1 + np.exp(2 / found))  # the probability of the other class
    assert 8 * wrong * 2 / found == pytest.approx(-np.log(found) / 0.25, rel=1e-3)
    assert 0.5 < found < 1
    sure = np.tile([20.0, 0.0], (500, 1))
    assert fit_temperature(sure, np.zeros(500, int)) == pytest.approx(1, abs=0.01)


def test_prediction_sets_hold_the_truth_as_often_as_is_asked():
    """Over 20 splits of the same answers, each within the bounds of its own chance.

    With n answers to fit by and m to look at, the number of sets that hold the truth is
    beta-binomial: Angelopoulos and Bates, "A Gentle Introduction to Conformal Prediction" (2021),
    appendix C.
    """
    fitted, looked_at, coverage = 500, 1500, 0.9
    logits, labels = answers(fitted + looked_at, 1.7)
    shares = special.softmax(logits, axis=1)
    place = np.ceil((fitted + 1) * coverage)
    chance = stats.betabinom(looked_at, place, fitted + 1 - place)
    counts = []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(labels))
        known, new = order[:fitted], order[fitted:]
        smallest = smallest_in_set(shares[known, labels[known]], coverage)
        sets = prediction_sets(shares[new], smallest)
        counts.append(int(sets[np.arange(looked_at), labels[new]].sum()))
        assert chance.ppf(0.0005) <= counts[-1] <= chance.ppf(0.9995)
    assert np.mean(counts) / looked_at == pytest.approx(coverage, abs=0.01)


def test_sets_of_too_few_answers_hold_all_classes_and_every_set_the_likeliest():
    assert smallest_in_set(np.array([0.9] * 8), 0.9) == 0.0
    assert smallest_in_set(np.array([0.9] * 8 + [0.2]), 0.9) == 0.2
    shares = np.array([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04]])
    assert prediction_sets(shares, 0.3).tolist() == [[True, True, False], [True, False, False]]
    assert prediction_sets(shares, 0.95).tolist() == [[True, False, False], [True, False, False]]


def test_what_lies_outside_the_space_of_the_training_is_far():
    """Embeddings vary in 3 of 8 directions, but for a little noise; unknown ones in all of them."""
    random = np.random.default_rng(0)
    directions = np.linalg.qr(random.normal(size=(8, 8)))[0]

    def known(count: int) -> np.ndarray:
        spread = np.array([5, 4, 3, 0.1, 0.1, 0.1, 0.1, 0.1])
        return 7 + (random.normal(size=(count, 8)) * spread) @ directions

    found = fit_space(known(2000))
    threshold = unknown_from(found.distances(known(1000)), 0.05)
    assert found.basis.shape == (8, 3)
    shares = (found.distances(known(4000)) > threshold).mean()
    assert shares == pytest.approx(0.05, abs=0.015)
    outside = 7 + 5 * directions[4:5]
    assert found.distances(outside) == pytest.approx([1.0], abs=0.02)
    assert found.distances(found.center[np.newaxis]).tolist() == [0.0]


def test_with_few_pictures_nothing_is_unknown():
    distances = np.linspace(0.1, 0.3, 19)
    assert unknown_from(distances[:18], 0.05) == 1.0
    assert unknown_from(distances, 0.05) == 0.3
