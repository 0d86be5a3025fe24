"""How sure answers may be: a temperature, prediction sets, and what is unlike the training.

Everything is fitted on validation pictures, which the weights were not trained on.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import optimize, special
from sklearn.decomposition import PCA

from inception_finetune.components.settings import Section

Array = npt.NDArray[np.float64]
# Of the embeddings, inside the space that a new one is held against: 64 of 2,048 directions for ten
# classes. Fewer or more tell other pictures from those of the classes less well.
_VARIANCE: Final = 0.98
_PRIOR: Final = 0.5  # standard deviation of the temperature's logarithm, before any answer is seen
_TEMPERATURES: Final = (0.05, 20.0)  # outside of these, probabilities are all one or all alike


class FittedConfidence(Section):
    """What was fitted to a model's answers, as ``confidence.json`` beside it; None: it was not."""

    pictures: int  # of the validation split, by which it was fitted
    temperature: float  # 1 leaves the network's own probabilities
    coverage: float | None  # how often the prediction sets are to hold the truth
    smallest_in_set: float | None  # the probability from which on a class is in the set
    false_unknown: float | None  # how often a picture of the classes may be called unknown
    unknown_from: float | None  # the distance from which on a picture is


def fit_temperature(logits: Array, labels: npt.NDArray[np.int64]) -> float:
    """Finds the number that logits are divided by, so that probabilities fit the truth.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), section 4.2: the cross-entropy is
    lowest there. Few answers, or answers that are all right, say little of it: the logarithm of the
    temperature has a normal prior around 0, whose weight is that of some few answers.

    Args:
      logits: ``[N, classes]``, N at least 1.
      labels: ``[N]``, the truth.

    Returns:
      The temperature, in [0.05, 20].
    """

    def unlikeliness(logarithm: float) -> float:
        shares = special.log_softmax(logits / math.exp(logarithm), axis=1)
        of_truth = shares[np.arange(len(labels)), labels]
        return float(-of_truth.sum() + (logarithm / _PRIOR) ** 2 / 2)

    bounds = tuple(map(math.log, _TEMPERATURES))
    return math.exp(optimize.minimize_scalar(unlikeliness, bounds=bounds, method="bounded").x)


def smallest_in_set(of_truth: Array, coverage: float) -> float:
    """Finds the probability from which on a class belongs to the prediction set.

    Split conformal prediction with the score ``1 - p(truth)``: Sadinle, Lei and Wasserman, "Least
    Ambiguous Set-Valued Classifiers with Bounded Error Levels" (2019). If new pictures are drawn as
    these were, the set holds the truth at least as often as `coverage`, on average over both.

    Args:
      of_truth: ``[N]``, the probability of the true class of pictures that were not trained on.
      coverage: how often the set is to hold the truth, in (0, 1).

    Returns:
      In [0, 1]; 0, so that the set holds all classes, where N is too small for the coverage.
    """
    place = math.ceil((len(of_truth) + 1) * coverage)
    return float(np.sort(of_truth)[::-1][place - 1]) if place <= len(of_truth) else 0.0


def prediction_sets(
    probabilities: npt.NDArray[np.floating], smallest: float
) -> npt.NDArray[np.bool_]:
    """Returns which classes are in each set, ``[N, classes]``: the likeliest always is."""
    likeliest = probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])
    return (probabilities >= smallest) | likeliest


@dataclass(frozen=True)
class Novelty:
    """How unlike those of the training a picture's embedding is.

    The share of its length that lies outside the space in which nearly all of the training's
    embeddings vary, in [0, 1]: Cook, Zare and Gader, "Outlier Detection through Null Space Analysis
    of Neural Networks" (2020), and the residual of Wang et al., "ViM: Out-Of-Distribution with
    Virtual-logit Matching" (2022).

    Attributes:
      center: ``[D]`` float32, the mean of the training's embeddings.
      basis: ``[D, k]`` float32, orthonormal: the directions in which they vary.
      threshold: the distance above which a picture is called unknown.
    """

    center: npt.NDArray[np.float32]
    basis: npt.NDArray[np.float32]
    threshold: float

    def distances(self, vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Returns the distance of each embedding, ``[N]``, of ``[N, D]``."""
        centred = vectors - self.center
        squares, inside = (centred**2).sum(axis=1), ((centred @ self.basis) ** 2).sum(axis=1)
        outside = np.maximum(squares - inside, 0.0)
        return np.sqrt(np.divide(outside, squares, out=np.zeros_like(squares), where=squares > 0))


def fit_space(trained: Array) -> Novelty:
    """Finds the space in which the training's embeddings vary; nothing is unknown yet.

    Args:
      trained: ``[N, D]``, embeddings of train pictures, N at least 2.
    """
    space = PCA(_VARIANCE, svd_solver="full").fit(trained)
    width = min(space.n_components_, trained.shape[1] - 1)  # something must lie outside
    basis = space.components_[:width].T
    return Novelty(space.mean_.astype(np.float32), basis.astype(np.float32), threshold=1.0)


def unknown_from(distances: Array, false_unknown: float) -> float:
    """Finds the distance above which a picture is called unknown.

    Args:
      distances: ``[N]``, of pictures of the classes that were not trained on.
      false_unknown: how often such a picture may be called unknown, in (0, 1).

    Returns:
      In [0, 1]; 1, so that nothing is unknown, where N is too small.
    """
    place = math.ceil((len(distances) + 1) * (1 - false_unknown))
    return float(np.sort(distances)[place - 1]) if place <= len(distances) else 1.0
