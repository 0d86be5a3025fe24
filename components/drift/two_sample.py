"""Tests whether two samples come from the same distribution, with a known rate of false alarms.

Each gives a p-value: the chance of a difference as large as this one where nothing differs. They
are calibrated by permutation, or exact, so that no threshold has to be guessed.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from inception_finetune.components.drift.sequential import permutation_p_value

_AT_ONCE: Final = 500  # permutations in one product of matrices
_LABELS_AT_ONCE: Final = 20_000  # permutations of labels, which are counts of classes only
# Divisions that are as extreme as the observed one must count as such, however they were rounded:
# of few pictures, there are few divisions, and the observed one comes up again and again.
_ROUNDING: Final = 1e-9  # of sums of the same numbers in another order
_KERNEL_ROUNDING: Final = 2e-7  # of a discrepancy, which is a mean of float32 in [0, 1]


class Distance(NamedTuple):
    """A distance between two samples, and its p-value."""

    value: float
    p: float


def maximum_mean_discrepancy(
    reference: npt.NDArray[np.floating],
    new: npt.NDArray[np.floating],
    *,
    permutations: int,
    seed: int,
    enough: int | None = None,
) -> Distance:
    """Computes the squared distance of two samples of vectors, and its p-value.

    The kernel two-sample test of Gretton et al. 2012 (JMLR 13, 723-773): the unbiased estimate
    under a Gaussian kernel, as wide as the median distance of the pooled sample, against what it is
    when the pooled sample is divided at random. On a classifier's representation, with a sample
    that it was not trained on as the reference, Rabanser et al. 2019 ("Failing Loudly", NeurIPS)
    find it among the best detectors of shift.

    Args:
      reference: ``[N, D]``.
      new: ``[M, D]``.
      permutations: number of random divisions.
      seed: of the permutations.
      enough: as large ones after which no more are drawn; None draws them all.
    """
    # Which one is first does not matter, but for rounding: it is less where that is the smaller.
    first, second = sorted((reference, new), key=len)
    pooled = np.concatenate([first, second]).astype(np.float64)
    kernel = _kernel(pooled)
    observed = np.zeros([1, len(pooled)], np.float32)
    observed[0, : len(first)] = 1
    value = float(_discrepancies(kernel, observed)[0])
    random = np.random.default_rng(seed)

    def is_as_large(count: int) -> npt.NDArray[np.bool_]:
        divided = random.permuted(np.repeat(observed, count, axis=0), axis=1)
        return _discrepancies(kernel, divided) >= value - _KERNEL_ROUNDING

    p = permutation_p_value(is_as_large, permutations, enough=enough, at_once=_AT_ONCE)
    return Distance(value, p)


def _kernel(pooled: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Returns ``[N+M, N+M]``, zero on the diagonal: no vector is compared with itself.

    In float32: its products are what permutations take, and differ by far more than its rounding.
    """
    norms = (pooled**2).sum(axis=1)
    squared = np.maximum(norms[:, None] + norms[None, :] - 2 * pooled @ pooled.T, 0)
    median = np.median(squared[np.triu_indices(len(pooled), k=1)])
    kernel = np.exp(-squared / (median or 1.0))
    np.fill_diagonal(kernel, 0)
    return kernel.astype(np.float32)


def _discrepancies(
    kernel: npt.NDArray[np.float32], first: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Returns unbiased squared discrepancies ``[P]``.

    Args:
      kernel: ``[N+M, N+M]``.
      first: ``[P, N+M]``, 1 for what is in a row's first sample, which is not the larger one.
    """
    n = float(first[0].sum())
    m = len(kernel) - n
    rows = kernel.sum(axis=1, dtype=np.float64)
    within_first = ((first @ kernel) * first).sum(axis=1, dtype=np.float64)
    between = first @ rows - within_first
    within_second = rows.sum() - within_first - 2 * between
    return within_first / (n * (n - 1)) + within_second / (m * (m - 1)) - 2 * between / (n * m)


def label_shift(
    reference: npt.NDArray[np.int64],
    new: npt.NDArray[np.int64],
    *,
    permutations: int,
    seed: int,
    enough: int | None = None,
) -> Distance:
    """Returns how far the share moved that moved most, and the p-value of all shares together.

    The p-value is that of Pearson's statistic by random divisions, so that it is exact for classes
    with few examples too, and small moves of many classes add up.

    Args:
      reference: ``[classes]`` int64 counts, at least one in all.
      new: ``[classes]`` int64 counts, the same of the new data.
      permutations: number of random divisions.
      seed: of the permutations.
      enough: as large ones after which no more are drawn; None draws them all.
    """
    pooled, random = reference + new, np.random.default_rng(seed)
    moved = float(np.abs(new / new.sum() - reference / reference.sum()).max())
    expected = pooled * (new.sum() / pooled.sum())

    def statistic(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Pearson's for a table of two rows, but for a factor that all divisions share."""
        return ((counts - expected) ** 2 / np.maximum(pooled, 1)).sum(axis=1)

    bound = statistic(new[None])[0] * (1 - _ROUNDING)

    def is_as_large(count: int) -> npt.NDArray[np.bool_]:
        divided = random.multivariate_hypergeometric(pooled, new.sum(), size=count)
        return statistic(divided) >= bound

    p = permutation_p_value(is_as_large, permutations, enough=enough, at_once=_LABELS_AT_ONCE)
    return Distance(moved, p)


def largest_chance_shift(
    reference: npt.NDArray[np.int64],
    new: npt.NDArray[np.int64],
    *,
    level: float,
    permutations: int,
    seed: int,
) -> float:
    """Returns how far a class's share moves by chance alone, but for one case in ``1/level``.

    Args:
      reference: ``[classes]`` int64 counts, at least one in all.
      new: ``[classes]`` int64 counts, the same of the new data.
      level: share of cases that may exceed the result.
      permutations: number of random divisions.
      seed: of the permutations.
    """
    pooled = reference + new
    samples = np.random.default_rng(seed).multivariate_hypergeometric(
        pooled, new.sum(), size=permutations
    )
    shares = samples / new.sum() - (pooled - samples) / reference.sum()
    return float(np.quantile(np.abs(shares).max(axis=1), 1 - level, method="higher"))
