"""A look: one set of new pictures against those of the training, at a level of its own.

The tests are those of `check-data`, with p-values as fine as the level needs.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from inception_finetune.components.drift.pictures import STATISTICS
from inception_finetune.components.drift.sequential import ENOUGH, divisions_for, look_level
from inception_finetune.components.drift.two_sample import label_shift, maximum_mean_discrepancy

# The tests that share the chance of a false alarm: labels, each picture statistic, features.
TESTS: Final = len(STATISTICS) + 2
LABELS: Final = "labels"
FEATURES: Final = "features"
_FEWEST: Final = 2  # pictures that a distance of samples needs
_COARSE: Final = 1000  # divisions of vectors, where another test has raised the alarm already


@dataclass(frozen=True)
class Measured:
    """What is compared of a set of pictures."""

    labels: npt.NDArray[np.int64]  # [classes] counts, of the classes that the model knows
    statistics: npt.NDArray[np.float64]  # [N, len(STATISTICS)]
    embeddings: npt.NDArray[np.float32] | None  # [M, D], what the head is given; None: not known
    # Pictures of classes that the model does not know, by their names.
    unknown: Mapping[str, int] = field(default_factory=dict)


class TestResult(NamedTuple):
    """The p-value of one test."""

    name: str
    p: float


@dataclass(frozen=True)
class Look:
    """What a look has found."""

    number: int  # of the model's looks; 1 is the first
    level: float  # of each test: a p-value up to it is an alarm
    tests: tuple[TestResult, ...]
    blunt: bool  # whether `permutations` are too few for the tests that are calibrated by them

    @property
    def has_features(self) -> bool:
        """Whether it was compared what the model makes of the pictures."""
        return any(test.name == FEATURES for test in self.tests)

    @property
    def smallest(self) -> TestResult:
        """The most unusual test."""
        return min(self.tests, key=lambda test: test.p)

    @property
    def alarms(self) -> tuple[TestResult, ...]:
        """The tests that say that something has changed."""
        return tuple(test for test in self.tests if test.p <= self.level)


def take_look(
    reference: Measured,
    new: Measured,
    number: int,
    *,
    false_alarm: float,
    permutations: int,
    allowed_shift: float,
    seed: int,
) -> Look:
    """Compares new pictures with those of the training.

    Over all looks at one `reference`, unchanged pictures raise an alarm in at most `false_alarm` of
    all cases: see `look_level`. Inside a look, each of the `TESTS` has an equal part (Bonferroni).

    Args:
      reference: labels and statistics of train, embeddings of validation pictures.
      new: of the new pictures, at least one.
      number: of the look, 1 for the first at this reference.
      false_alarm: rate over all looks.
      permutations: that a test may take, at most.
      allowed_shift: how far the share of a class may move in any case.
      seed: of the permutations.
    """
    level = look_level(false_alarm, number) / TESTS
    wanted = divisions_for(level)
    drawn = min(wanted, permutations)
    tests = [_labels(reference, new, drawn, allowed_shift, seed)]
    if len(new.statistics):
        columns = zip(STATISTICS, reference.statistics.T, new.statistics.T, strict=True)
        tests += [TestResult(name, _kolmogorov_smirnov(*both)) for name, *both in columns]
    ours, theirs = reference.embeddings, new.embeddings
    if ours is not None and theirs is not None and min(len(ours), len(theirs)) >= _FEWEST:
        raised = any(test.p <= level for test in tests)
        distance = maximum_mean_discrepancy(
            ours,
            theirs,
            permutations=min(drawn, _COARSE) if raised else drawn,
            seed=seed,
            enough=ENOUGH,
        )
        tests.append(TestResult(FEATURES, distance.p))
    tests += [TestResult(f"new class {name}", 0.0) for name in sorted(new.unknown)]
    return Look(number, level, tuple(tests), blunt=1 / (1 + drawn) > level)


def _labels(
    reference: Measured, new: Measured, drawn: int, allowed_shift: float, seed: int
) -> TestResult:
    """A shift that is allowed has a p-value of 1: greater ones keep the rate of false alarms."""
    if not new.labels.sum():
        return TestResult(LABELS, 1.0)
    distance = label_shift(
        reference.labels, new.labels, permutations=drawn, seed=seed, enough=ENOUGH
    )
    return TestResult(LABELS, distance.p if distance.value > allowed_shift else 1.0)


def _kolmogorov_smirnov(reference: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> float:
    with warnings.catch_warnings():
        # Where SciPy cannot compute the exact p-value, it says so and takes the limit's.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.ks_2samp(reference, new).pvalue)
