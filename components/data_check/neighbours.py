"""The nearest images of each image, by the network's features."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn import config_context
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

NEIGHBOURS: Final = 10
_MEMORY: Final = 256  # MiB of distances at a time


class Neighbours(NamedTuple):
    """Up to `NEIGHBOURS` others of each image, the nearest first."""

    indices: npt.NDArray[np.int64]  # [N, k]
    distances: npt.NDArray[np.float32]  # [N, k], one minus the cosine of standardised features


def nearest_neighbours(features: npt.NDArray[np.float32]) -> Neighbours:
    """Compares every image with every other one.

    Args:
      features: ``[N, channels]``.
    """
    count = min(NEIGHBOURS, len(features) - 1)
    if count < 1:
        return Neighbours(
            np.empty([len(features), 0], np.int64), np.empty([len(features), 0], np.float32)
        )
    scaled = StandardScaler().fit_transform(features)
    with config_context(working_memory=_MEMORY):
        search = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute")
        distances, indices = search.fit(scaled).kneighbors()
    return Neighbours(indices, distances.astype(np.float32))
