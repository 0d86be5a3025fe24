"""What keeps the rate of false alarms over all looks at a model's life, and p-values fine enough.

A look compares new data with those that a model was trained on. Looks go on for as long as the
model serves, nobody knows how often, so the promised rate is spent over them: see `look_level`. The
late ones are left so little of it that a permutation test needs millions of divisions to fall below
it. `permutation_p_value` draws them one after another and stops when nothing is unusual.
"""

from collections.abc import Callable
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt

ENOUGH: Final = 10  # divisions as extreme as the observed one, after which no more are drawn
_FIRST: Final = 64  # divisions that are drawn at first; then twice as many each time


def look_level(false_alarm: float, look: int) -> float:
    """Returns the share of the false alarms that one look may spend.

    Lan and DeMets 1983 (Biometrika 70, 659-663) spend a rate over looks whose number is not known
    beforehand. Look n is given ``false_alarm / (n (n + 1))``, which sums to `false_alarm` over all
    n. By the union bound, that holds however the looks hang together. They do: all are compared
    with one sample of the training, so that a product of their e-values would promise too much.

    Args:
      false_alarm: rate over all looks, in (0, 1).
      look: number of the look, 1 for the first.
    """
    return false_alarm / (look * (look + 1))


def divisions_for(level: float) -> int:
    """Returns how many random divisions a p-value needs to be at most `level` with one as extreme.

    Args:
      level: of the test, in (0, 1).
    """
    return ceil(2 / level) - 1


def permutation_p_value(
    is_extreme: Callable[[int], npt.NDArray[np.bool_]],
    divisions: int,
    *,
    enough: int | None = None,
    at_once: int,
) -> float:
    """Computes the p-value of a permutation test.

    With `enough`, it is Besag and Clifford's sequential p-value (1991, Biometrika 78, 301-304): of
    at most `divisions`, draws stop when `enough` of them are as extreme as what was observed, after
    ``n`` draws say, and the p-value is ``enough / n``. Where there are fewer, it is what it would
    be without `enough`. Both are valid: where nothing differs, one in 20 is below 0.05.

    Args:
      is_extreme: called with a number, draws so many divisions; returns for each whether it is at
        least as extreme as the observed one.
      divisions: that are drawn at most.
      enough: None draws all of them.
      at_once: divisions in one call, at most.

    Returns:
      The p-value, in (0, 1].
    """
    drawn, extreme, size = 0, 0, at_once if enough is None else min(_FIRST, at_once)
    while drawn < divisions:
        found = is_extreme(min(size, divisions - drawn))
        if enough is not None and extreme + int(found.sum()) >= enough:
            last = int(np.flatnonzero(found)[enough - extreme - 1])
            return enough / (drawn + last + 1)
        drawn, extreme, size = (
            drawn + len(found),
            extreme + int(found.sum()),
            min(2 * size, at_once),
        )
    # The division that was observed is one of those that are equally likely.
    return (1 + extreme) / (1 + divisions)
