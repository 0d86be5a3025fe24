"""Chooses which images are held out of train where the source leaves it open, alike on any engine.

An image's rank is a hash of seed, split and pixels, so that copies have the same rank. Of each
class, the images below a bound are held out; the bound is chosen so that they are as near to the
wanted fraction as is possible without separating copies.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby
from typing import Final

import numpy as np
import numpy.typing as npt

_END: Final = 2**64  # above all ranks


def rank(digest: bytes, split: str, seed: int) -> int:
    """Returns a number in [0, 2**64), uniform over images.

    Args:
      digest: of the pixels.
      split: what the image may be held out for.
      seed: of the split.
    """
    hashed = hashlib.sha256(f"{seed} {split} ".encode() + digest).digest()
    return int.from_bytes(hashed[:8], "big")


def bound(ranks: Iterable[int], fraction: float) -> int:
    """Returns the rank below which the images of one class are held out.

    Args:
      ranks: of all N >= 1 images of the class; copies have the same one.
      fraction: of the images to be held out, in [0, 1].

    Returns:
      The bound that holds out a number nearest to ``round(N * fraction)``, and fewer than N unless
      that is N.
    """
    groups = [(of_rank, len(list(same))) for of_rank, same in groupby(sorted(ranks))]
    below = [0, *accumulate(size for _, size in groups)]  # pictures below each distinct rank
    target = round(below[-1] * fraction)
    if target == below[-1]:
        return _END
    nearest = min(range(len(groups)), key=lambda place: abs(below[place] - target))
    return groups[nearest][0]


def held_out(
    digests: Sequence[bytes],
    labels: npt.NDArray[np.int64],
    *,
    split: str,
    fraction: float,
    seed: int,
) -> npt.NDArray[np.bool_]:
    """Decides for each of N images whether it is held out for `split`.

    Copies under several labels go where the smallest of those labels sends them.

    Args:
      digests: of the pixels.
      labels: ``[N]`` int64.
      split: what images are held out for.
      fraction: of each class to be held out, in [0, 1].
      seed: of the split.

    Returns:
      ``[N]`` bool.
    """
    ranks = [rank(digest, split, seed) for digest in digests]
    by_label: defaultdict[int, list[int]] = defaultdict(list)
    first_label: dict[bytes, int] = {}
    for digest, label, of_picture in zip(digests, labels.tolist(), ranks, strict=True):
        by_label[label].append(of_picture)
        first_label[digest] = min(label, first_label.get(digest, label))
    bounds = {label: bound(of_class, fraction) for label, of_class in by_label.items()}
    return np.array(
        [
            of_picture < bounds[first_label[digest]]
            for digest, of_picture in zip(digests, ranks, strict=True)
        ],
        bool,
    )
