"""A linear classifier on fixed features: what they are worth without training the network."""

import time
import warnings
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.measures import Accuracy, accuracy

# Inverse strengths of the L2 penalty, from strong to weak: each solution starts the next one.
STRENGTHS: Final = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_CHOOSING: Final = 0.2  # of the train examples, on which the strength is chosen
_STEPS: Final = 200  # of L-BFGS


class Probe(NamedTuple):
    """Result of a linear probe."""

    accuracy: Accuracy  # on the validation examples
    strength: float  # of `STRENGTHS`, the one that was best on a part of train
    seconds: float  # to choose, fit and score


def probe(
    train: npt.NDArray[np.float32],
    train_labels: npt.NDArray[np.int64],
    validation: npt.NDArray[np.float32],
    validation_labels: npt.NDArray[np.int64],
    seed: int,
) -> Probe:
    """Fits a logistic regression on standardised features and scores it on validation.

    Its penalty is chosen on a fifth of train, drawn by `seed`; then all of train is fitted.

    Args:
      train: ``[N, D]`` float32.
      train_labels: ``[N]`` int64.
      validation: ``[M, D]`` float32.
      validation_labels: ``[M]`` int64.
      seed: of the part that the penalty is chosen on.

    Raises:
      UserError: the train examples that it is fitted to are all of one class.
    """
    started = time.monotonic()
    order = np.random.default_rng(seed).permutation(len(train))
    choosing, fitting = np.split(order, [int(_CHOOSING * len(order))])
    if len(np.unique(train_labels[fitting])) < 2:
        raise UserError(
            f"All {len(fitting)} train examples for the probe are of one class: it needs two "
            "or more. Give a larger --sample, or other data."
        )
    scaler = StandardScaler().fit(train)
    train, validation = scaler.transform(train), scaler.transform(validation)
    classifier = LogisticRegression(warm_start=True, max_iter=_STEPS)
    right = {}
    # On a busy machine BLAS' threads wait for each other: 40 times the time of one alone.
    with threadpool_limits(1), warnings.catch_warnings():
        # Where the penalty is weak, the last digits of the solution do not matter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for strength in STRENGTHS:
            classifier.set_params(C=strength).fit(train[fitting], train_labels[fitting])
            right[strength] = classifier.score(train[choosing], train_labels[choosing])
        best = max(STRENGTHS, key=right.__getitem__)  # of equals the strongest
        classifier = LogisticRegression(C=best, max_iter=_STEPS).fit(train, train_labels)
    hits = classifier.predict(validation) == validation_labels
    return Probe(accuracy(hits), best, time.monotonic() - started)
