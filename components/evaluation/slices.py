"""Accuracy on kinds of pictures: dark, blurred, small ones, and of each file format."""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from inception_finetune.components.evaluation.measures import Accuracy, accuracy
from inception_finetune.components.image.statistics import PictureStatistics
from inception_finetune.components.settings import Section

_QUARTER: Final = 0.25  # of the pictures, at each end of a statistic
_FEWEST: Final = 20  # pictures in a slice, and outside of it
_LEVEL: Final = 0.05  # at which a difference is said to be more than chance


class Slice(Section):
    """The pictures of one kind, beside all others."""

    kind: str  # such as "dark"
    rule: str  # such as "brightness up to 87.3 of 255"
    accuracy: Accuracy
    others: float  # accuracy on the other pictures
    p_value: float  # that both are recognised alike, corrected for the number of slices

    @property
    def is_worse(self) -> bool:
        """Whether these pictures are recognised less than the others, by more than chance."""
        return self.p_value < _LEVEL and self.accuracy.value < self.others


def picture_slices(
    pictures: Sequence[PictureStatistics], formats: Sequence[str], hits: npt.NDArray[np.bool_]
) -> tuple[Slice, ...]:
    """Measures accuracy on the quarter of the pictures at each end of each statistic.

    The p-values are Fisher's exact ones, corrected by Holm's method: slices overlap, and the least
    of many p-values is small by chance.

    Args:
      pictures: N of them, measured.
      formats: of their files.
      hits: ``[N]``, which are recognised.

    Returns:
      The slices that have 20 pictures or more, as their others have; the least p-value first.
    """
    found = []
    for kind, rule, inside in _kinds(pictures, np.array(formats)):
        if min(inside.sum(), (~inside).sum()) >= _FEWEST:
            table = [[part.sum(), (~part).sum()] for part in (hits[inside], hits[~inside])]
            p_value = float(stats.fisher_exact(table).pvalue)
            found.append((p_value, kind, rule, accuracy(hits[inside]), hits[~inside].mean()))
    slices, highest = [], 0.0
    found.sort(key=itemgetter(0))
    for rank, (p_value, kind, rule, measured, others) in enumerate(found):
        highest = max(highest, min(1.0, p_value * (len(found) - rank)))
        slices.append(
            Slice(kind=kind, rule=rule, accuracy=measured, others=others, p_value=highest)
        )
    return tuple(slices)


def _kinds(
    pictures: Sequence[PictureStatistics], formats: npt.NDArray[np.str_]
) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Yields the kind, its rule, and which pictures are of it, ``[N]``."""
    columns = PictureStatistics(*np.array(pictures, np.float64).T)
    side = np.minimum(columns.height, columns.width)
    for low, high, values, name, unit in (
        ("dark", "bright", columns.brightness, "brightness", " of 255"),
        ("flat", "rich in contrast", columns.contrast, "contrast", " of 255"),
        ("blurred", "sharp", columns.sharpness, "sharpness", ""),
        ("small", "large", side, "shorter side", " pixels"),
    ):
        lowest, highest = np.quantile(values, [_QUARTER, 1 - _QUARTER])
        if lowest < highest:
            yield low, f"{name} up to {lowest:.3g}{unit}", values <= lowest
            yield high, f"{name} from {highest:.3g}{unit} on", values >= highest
    for name in np.unique(formats):
        yield f"{name} files", "by their format", formats == name
