"""Images that show the same: re-encoded, resized, cropped, shifted, brightened or mirrored copies.

Candidates are nearest neighbours by early features of the network. A candidate counts if the
details of both images agree wherever the one is laid on the other.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from inception_finetune.components.data_check.neighbours import Neighbours
from inception_finetune.components.progress import Advance

CANDIDATES: Final = 5  # nearest neighbours of each image, that are looked at
LEAST_COSINE: Final = 0.45  # of standardised features
# Correlation of details from which two images count as the same; the second where details are few,
# such as a small plane in the sky. Measured on 12,000 images of CIFAR-10 at 75 pixels, Mixed_6a:
# of 400 altered copies (`benchmarks/doctor.py`: JPEG of quality 40 and 75, crops of 80 % and 90 %,
# shifts by 2 and 4 of 32 pixels, brightness, size, mirrored) 368 are found, and 338 of the 356 that
# are not mirrored; of the 72 million other pairs 135, of whose 80 weakest three are two scenes,
# and the rest copies by their looks.
LEAST_CORRELATION: Final = 0.95
LEAST_OF_FEW: Final = 0.98
_FEW: Final = 0.2  # of the pixels that the details are in
_SIDE: Final = 24  # pixels, at which images are compared
_TEMPLATE: Final = 18  # pixels, of the middle part that is laid on the other image
_SCALES: Final = (24, 27, 30)  # pixels of the other image: the same part, a crop of 90 % or of 80 %
_DETAILS: Final = (1.0, 3.0)  # pixels: deviations of the two blurs whose difference is compared
_LEAST_NORM: Final = 1.0  # of a flat window, which must not be divided by
_PAIRS: Final = 512  # compared at a time


class Pair(NamedTuple):
    """Two images that show the same."""

    first: int
    second: int  # above `first`
    correlation: float  # of their details, where they agree best
    mirrored: bool


def near_duplicates(
    grey: npt.NDArray[np.uint8], neighbours: Neighbours, advance: Advance
) -> list[Pair]:
    """Finds pairs of images that show the same, most alike first.

    Args:
      grey: ``[N, side, side]``, brightness of the images, squeezed.
      neighbours: of the images, by early features of the network.
      advance: is called with the number of images whose neighbours were compared.
    """
    candidates = _candidates(neighbours)
    found: list[Pair] = []
    share = len(grey) / max(1, len(candidates))
    done = 0.0
    for start in range(0, len(candidates), _PAIRS):
        part = candidates[start : start + _PAIRS]
        found += _compare(grey, part)
        done += share * len(part)
        advance(int(done))
        done -= int(done)
    return sorted(found, key=lambda pair: (-pair.correlation, pair.first, pair.second))


def duplicate_groups(pairs: list[Pair], count: int) -> npt.NDArray[np.int64]:
    """Returns the number of each image's group: images that are joined by pairs share one.

    Args:
      pairs: of `near_duplicates`.
      count: N, of all images.

    Returns:
      ``[N]`` int64.
    """
    first = [pair.first for pair in pairs]
    second = [pair.second for pair in pairs]
    graph = coo_array((np.ones(len(pairs)), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _candidates(neighbours: Neighbours) -> npt.NDArray[np.int64]:
    """Returns ``[P, 2]`` pairs of neighbours, the lower index first, each once."""
    near = neighbours.distances[:, :CANDIDATES] <= 1 - LEAST_COSINE
    row, column = np.nonzero(near)
    pairs = np.stack([row, neighbours.indices[row, column]], axis=1)
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _compare(grey: npt.NDArray[np.uint8], pairs: npt.NDArray[np.int64]) -> Iterator[Pair]:
    used, places = np.unique(pairs, return_inverse=True)
    first, second = places.reshape(pairs.shape).T
    details = {scale: _details(grey[used], scale) for scale in _SCALES}
    edge = (_SIDE - _TEMPLATE) // 2
    middle = details[_SIDE][:, edge : edge + _TEMPLATE, edge : edge + _TEMPLATE]
    few = _share_of_pixels(middle) < _FEW
    best = np.full(len(pairs), -1.0)
    mirrored = np.zeros(len(pairs), bool)
    with threadpool_limits(1):
        for one, other in ((first, second), (second, first)):
            for is_mirrored in (False, True):
                templates = middle[one, :, ::-1] if is_mirrored else middle[one]
                for scale in _SCALES:
                    correlation = _highest_correlation(templates, details[scale][other])
                    better = correlation > best
                    best[better], mirrored[better] = correlation[better], is_mirrored
    least = np.where(few[first] | few[second], LEAST_OF_FEW, LEAST_CORRELATION)
    for index in np.flatnonzero(best >= least):
        one, other = map(int, pairs[index])
        yield Pair(one, other, float(best[index]), bool(mirrored[index]))


def _details(grey: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.float32]:
    """Returns ``[M, side, side]`` float32: what is neither noise nor slow change of brightness."""
    resized = [
        np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR))
        for one in grey
    ]
    values = np.stack(resized).astype(np.float32)
    fine, coarse = (_blurred(values, deviation) for deviation in _DETAILS)
    return fine - coarse


def _blurred(values: npt.NDArray[np.float32], deviation: float) -> npt.NDArray[np.float32]:
    for axis in (1, 2):
        values = gaussian_filter1d(values, deviation, axis=axis, mode="nearest")
    return values


def _share_of_pixels(windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns ``[M]``, over how many of the pixels the details are spread (participation ratio)."""
    squares = _centred(windows) ** 2
    fourth = (squares**2).mean(axis=(1, 2))
    share = squares.mean(axis=(1, 2)) ** 2 / np.where(fourth > 0, fourth, 1)
    return share.astype(np.float32)


def _highest_correlation(
    templates: npt.NDArray[np.float32], images: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Returns ``[P]``, the highest correlation of each template with a window of its image.

    The means of rows and columns are taken out of both: a horizon alone is in many images.
    """
    windows = sliding_window_view(images, (_TEMPLATE, _TEMPLATE), axis=(1, 2))
    positions = windows.shape[1]
    windows = windows.reshape(len(images), -1, _TEMPLATE, _TEMPLATE)
    # Products with a centred template do not depend on what is taken out of the window.
    centred = _centred(templates)
    squares = (
        np.einsum("pqij,pqij->pq", windows, windows)
        - _TEMPLATE * (windows.mean(axis=3) ** 2).sum(axis=2)
        - _TEMPLATE * (windows.mean(axis=2) ** 2).sum(axis=2)
        + _TEMPLATE**2 * windows.mean(axis=(2, 3)) ** 2
    )
    flat = windows.reshape(len(images), -1, _TEMPLATE**2)
    products = np.matmul(flat, centred.reshape(len(images), -1, 1))[:, :, 0]
    norms = np.linalg.norm(centred, axis=(1, 2))[:, None]
    window_norms = np.sqrt(np.maximum(squares, 0))
    norms = np.maximum(norms, _LEAST_NORM) * np.maximum(window_norms, _LEAST_NORM)
    return _peaks((products / norms).reshape(-1, positions, positions))


def _centred(windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Takes the means of rows and columns out of ``[P, n, n]``."""
    return (
        windows
        - windows.mean(axis=1, keepdims=True)
        - windows.mean(axis=2, keepdims=True)
        + windows.mean(axis=(1, 2), keepdims=True)
    )


def _peaks(surfaces: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns ``[P]``, the highest value of each ``[P, n, n]`` surface, also between its points.

    In each direction, the peak is that of the parabola through the highest point and its two
    neighbours: where an image is shifted by half a pixel, no point itself is on the peak.
    """
    rows = np.arange(len(surfaces))
    top, left = np.unravel_index(
        surfaces.reshape(len(surfaces), -1).argmax(axis=1), surfaces.shape[1:]
    )
    highest = surfaces[rows, top, left]
    last = surfaces.shape[1] - 1
    peaks = highest.copy()
    for before, after, inside in (
        ((top - 1, left), (np.minimum(top + 1, last), left), (top > 0) & (top < last)),
        ((top, left - 1), (top, np.minimum(left + 1, last)), (left > 0) & (left < last)),
    ):
        low, high = surfaces[rows, *before], surfaces[rows, *after]
        curvature = 2 * highest - low - high
        rise = (high - low) ** 2 / (8 * np.where(curvature > 0, curvature, np.inf))
        peaks += np.where(inside, rise, 0)
    return peaks
