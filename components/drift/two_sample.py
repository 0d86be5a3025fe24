"""Tests whether two samples come from the same distribution, with a known rate of false alarms.

Each gives a p-value: the chance of a difference as large as this one where nothing differs. They
are calibrated by permutation, or exact, so that no threshold has to be guessed.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_AT_ONCE = 500  # permutations in one product of matrices


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
    """
    pooled = np.concatenate([reference, new]).astype(np.float64)
    kernel = _kernel(pooled)
    count = len(reference)
    observed = np.zeros([1, len(pooled)])
    observed[0, :count] = 1
    value = float(_discrepancies(kernel, observed)[0])
    random = np.random.default_rng(seed)
    as_large = 0
    for start in range(0, permutations, _AT_ONCE):
        divided = random.permuted(
            np.repeat(observed, min(_AT_ONCE, permutations - start), axis=0), axis=1
        )
        as_large += int((_discrepancies(kernel, divided) >= value).sum())
    # The division that was observed is one of those that are equally likely.
    return Distance(value, (1 + as_large) / (1 + permutations))


def _kernel(pooled: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns ``[N+M, N+M]``, zero on the diagonal: no vector is compared with itself."""
    norms = (pooled**2).sum(axis=1)
    squared = np.maximum(norms[:, None] + norms[None, :] - 2 * pooled @ pooled.T, 0)
    median = np.median(squared[np.triu_indices(len(pooled), k=1)])
    kernel = np.exp(-squared / (median or 1.0))
    np.fill_diagonal(kernel, 0)
    return kernel


def _discrepancies(
    kernel: npt.NDArray[np.float64], first: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Returns unbiased squared discrepancies ``[P]``; `first` is 1 for a row's first sample."""
    n = first[0].sum()
    m = len(kernel) - n
    within_first = ((first @ kernel) * first).sum(axis=1)
    between = first @ kernel.sum(axis=1) - within_first
    within_second = kernel.sum() - within_first - 2 * between
    return within_first / (n * (n - 1)) + within_second / (m * (m - 1)) - 2 * between / (n * m)


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
