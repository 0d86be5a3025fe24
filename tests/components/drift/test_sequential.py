"""Looks share one rate of false alarms; sequential p-values are valid, and the full test's."""

import numpy as np
import pytest
from scipy import stats

from inception_finetune.components.drift import look as looks
from inception_finetune.components.drift.look import TESTS, Measured, take_look
from inception_finetune.components.drift.pictures import STATISTICS
from inception_finetune.components.drift.sequential import (
    divisions_for,
    look_level,
    permutation_p_value,
)
from inception_finetune.components.drift.two_sample import label_shift, maximum_mean_discrepancy


def test_the_levels_of_all_looks_sum_to_the_promised_rate():
    levels = np.array([look_level(0.01, look) for look in range(1, 100_001)])
    assert levels[:3] == pytest.approx([0.01 / 2, 0.01 / 6, 0.01 / 12])
    assert levels.sum() == pytest.approx(0.01 * (1 - 1 / 100_001))
    assert (np.diff(levels) < 0).all()


def test_as_many_divisions_as_an_alarm_with_one_as_extreme_needs():
    for level in (0.01, 1e-3 / 7, look_level(0.01, 30) / TESTS):
        divisions = divisions_for(level)
        assert 2 / (divisions + 1) <= level < 2 / divisions


def is_extreme(random, share):
    return lambda count: random.random(count) < share


def test_the_sequential_p_value_is_uniform_where_nothing_differs():
    """`share` of divisions as extreme as the observed one is uniform, as under the hypothesis."""
    random = np.random.default_rng(0)
    found = np.array(
        [
            permutation_p_value(is_extreme(random, random.random()), 999, enough=10, at_once=200)
            for _ in range(4000)
        ]
    )
    # It is exact at each value that it can take: 10 / n, and (1 + g) / 1000.
    for bound in (0.002, 0.01, 10 / 500, 10 / 100, 0.25, 0.5, 1.0):
        expected = 4000 * bound
        room = 4 * np.sqrt(expected * (1 - bound)) + 1
        assert (found <= bound).sum() == pytest.approx(expected, abs=room)


def test_it_is_the_full_tests_unless_enough_are_extreme_and_stops_where_they_are():
    drawn = []

    def draw(count, random):
        drawn.append(count)
        return random.random(count) < 0.004

    first, again = np.random.default_rng(1), np.random.default_rng(1)
    whole = permutation_p_value(lambda n: draw(n, first), 2000, at_once=500)
    assert sum(drawn) == 2000
    # The same draws, in calls of other sizes.
    same = permutation_p_value(lambda n: draw(n, again), 2000, enough=100, at_once=300)
    assert same == whole and sum(drawn) == 4000
    quiet = permutation_p_value(lambda n: np.ones(n, bool), 10**9, enough=10, at_once=64)
    assert quiet == 1.0
    row = np.zeros(200, bool)
    row[[3, 77, 90]] = True
    rows = iter(np.split(row, [64, 192]))
    assert permutation_p_value(lambda n: next(rows), 10**6, enough=3, at_once=128) == 3 / 91


def test_quiet_data_cost_some_hundred_divisions_and_not_millions():
    random, drawn = np.random.default_rng(2), []

    def draw(count, share):
        drawn.append(count)
        return random.random(count) < share

    for _ in range(200):
        share = random.random()
        permutation_p_value(lambda n, p=share: draw(n, p), 10**7, enough=10, at_once=500)
    assert sum(drawn) / 200 < 2000


def test_both_permutation_tests_are_sequential_in_the_same_way():
    random = np.random.default_rng(3)
    x, y = random.normal(size=(30, 4)), random.normal(0.4, size=(20, 4))
    whole = maximum_mean_discrepancy(x, y, permutations=1000, seed=5)
    same = maximum_mean_discrepancy(x, y, permutations=1000, seed=5, enough=10**6)
    assert same.value == whole.value and same.p == pytest.approx(whole.p, abs=0.02)
    counts = np.array([400, 300, 300]), np.array([20, 40, 40])
    labels = label_shift(*counts, permutations=20_000, seed=0)
    assert labels.value == pytest.approx(0.2)
    assert label_shift(*counts, permutations=20_000, seed=0, enough=20).p == pytest.approx(
        labels.p, rel=1.0
    )
    assert labels.p < 0.001
    assert label_shift(counts[0], counts[0] // 10, permutations=1000, seed=0).p == 1.0


def test_small_moves_of_many_classes_add_up():
    reference = np.full(10, 100)
    moved = np.repeat([16, 4], 5)  # no class moves by more than 6 points
    found = label_shift(reference, moved, permutations=200_000, seed=0)
    assert found.value == pytest.approx(0.06)
    table = np.array([reference, moved])
    expected = stats.chi2_contingency(table).pvalue
    assert expected < 3e-4 and found.p == pytest.approx(expected, rel=0.5)
    assert label_shift(reference, np.full(10, 10), permutations=1000, seed=0).p == 1.0


def test_p_values_of_labels_are_uniform_where_nothing_changes():
    random = np.random.default_rng(5)
    shares = np.array([0.5, 0.3, 0.15, 0.04, 0.01])
    found = [
        label_shift(
            random.multinomial(300, shares),
            random.multinomial(60, shares),
            permutations=199,
            seed=seed,
        ).p
        for seed in range(400)
    ]
    for level in (0.05, 0.2, 0.5):
        assert stats.binomtest(int(np.sum(np.array(found) <= level)), 400, level).pvalue > 1e-3


def measured(random, count, *, shift=0.0, shares=(0.5, 0.3, 0.2), brightness=0.0) -> Measured:
    statistics = random.normal(100, 20, (count, len(STATISTICS)))
    statistics[:, STATISTICS.index("brightness")] += brightness
    return Measured(
        random.multinomial(count, shares),
        statistics,
        random.normal(shift, 1, (count, 8)).astype(np.float32),
    )


def look(reference, new, number, **changes) -> looks.Look:
    settings = {"false_alarm": 0.01, "permutations": 10**6, "allowed_shift": 0.05, "seed": 0}
    return take_look(reference, new, number, **settings | changes)


def test_a_look_names_what_has_changed_and_nothing_else():
    random = np.random.default_rng(4)
    reference = measured(random, 300)
    quiet = look(reference, measured(random, 100), 3)
    assert quiet.alarms == () and len(quiet.tests) == TESTS
    assert quiet.level == 0.01 / 12 / TESTS and quiet.smallest.p > quiet.level
    for changes, name in (
        ({"shift": 0.6}, "features"),
        ({"brightness": 25.0}, "brightness"),
        ({"shares": (0.1, 0.3, 0.6)}, "labels"),
    ):
        found = look(reference, measured(random, 100, **changes), 3)
        assert [test.name for test in found.alarms] == [name]
        assert found.smallest.name == name


def test_a_shift_that_is_allowed_is_none_and_a_new_class_is_one_at_once():
    random = np.random.default_rng(5)
    reference, new = measured(random, 300), measured(random, 100, shares=(0.1, 0.3, 0.6))
    assert look(reference, new, 1, allowed_shift=0.9).alarms == ()
    owl = Measured(new.labels * 0, new.statistics, new.embeddings, {"owl": 3})
    assert [test.name for test in look(reference, owl, 1).alarms] == ["new class owl"]


def test_a_look_says_where_its_permutations_cannot_reach_its_level():
    random = np.random.default_rng(6)
    reference, new = measured(random, 60), measured(random, 40, shift=2)
    blunt = look(reference, new, 100, permutations=1000)
    assert blunt.blunt and blunt.alarms == () and blunt.smallest.p == 1 / 1001
    assert not look(reference, new, 1, permutations=100_000).blunt


def test_lives_without_a_change_raise_no_more_alarms_than_promised():
    """100 lives of 4 looks at one reference each: 20 alarms at most are promised."""
    alarms = 0
    for life in range(100):
        random = np.random.default_rng([7, life])
        reference = measured(random, 60)
        alarms += any(
            look(reference, measured(random, 20), number, false_alarm=0.2).alarms
            for number in range(1, 5)
        )
    # Each look at the whole rate would give 55. The bound is exceeded once in 200 times by chance.
    assert 4 <= alarms <= 31
