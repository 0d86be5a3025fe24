"""Labels that the other images contradict, and classes that cannot be told apart.

Each image is judged by a linear classifier of the network's features that has not seen it. Which
of its doubts count is confident learning's question (Northcutt et al., arXiv:1911.00068).
"""

import warnings
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from cleanlab.filter import find_label_issues
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from inception_finetune.components import features
from inception_finetune.components.backbone_comparison.probe import STRENGTHS
from inception_finetune.components.progress import Advance

FOLDS: Final = 5
# Share of a guess's probability, 1 / classes, up to which a label is called likely wrong, and above
# which possibly. On 12,000 images of CIFAR-10 with 5 % of the labels changed (75 pixels, Mixed_6a),
# 80 % of those called likely were changed, and half of the changed ones are among them.
LIKELY: Final = 0.1
# Area under the ROC curve of two classes, below which they are said not to be told apart.
APART: Final = 0.8
# Of a class' mean number of images; the images of larger groups may be in several folds.
_LARGEST_GROUP: Final = 1 / FOLDS
_PAIRS: Final = 50  # of classes, the most confused ones, that are looked at
_PROBED: Final = 3000  # examples, by which block and penalty are chosen
_WORK: Final = 2e9  # examples times features times classes, above which features are reduced
_REDUCED: Final = 256  # features that are left then
_STEPS: Final = 100  # of L-BFGS


class LabelIssue(NamedTuple):
    """An image whose label its features contradict."""

    image: int  # index
    suggested: int  # label
    given_probability: float  # of the label that it has
    suggested_probability: float
    is_likely: bool  # wrong, not only possibly


class ClassPair(NamedTuple):
    """Two classes that are confused."""

    first: int
    second: int
    auc: float  # area under the ROC curve of telling them apart; 0.5 is by chance
    confused: int  # images of the one that are taken for the other


class Labels(NamedTuple):
    """What the classifier says of all labels."""

    block: str  # whose features it was given
    accuracy: float  # share of train and validation images that it has right
    issues: tuple[LabelIssue, ...]  # of all splits, the most contradicted first
    pairs: tuple[ClassPair, ...]  # the least apart first
    unexamined: tuple[int, ...]  # labels with too few images


def examine_labels(
    by_block: dict[str, npt.NDArray[np.float32]],
    labels: npt.NDArray[np.int64],
    splits: npt.NDArray[np.str_],
    groups: npt.NDArray[np.int64],
    seed: int,
    advance: Advance,
) -> Labels | None:
    """Judges every label; None where there are not two classes with two images each.

    Train and validation images are judged by classifiers of the other folds, test images by one of
    all train and validation images. Copies are in one fold, so that none is judged by its own.

    Args:
      by_block: ``[N, channels]`` features of each block; the block is taken whose linear probe is
        best on validation.
      labels: ``[N]``.
      splits: ``[N]``.
      groups: ``[N]``, equal for copies.
      seed: of folds and samples.
      advance: is called after each of `FOLDS` and after the test images.
    """
    learned = np.flatnonzero(splits != features.TEST)
    groups = _without_large(groups, len(learned) / max(1, len(np.unique(labels))))
    groups_by_label = {
        int(label): len(np.unique(groups[learned][labels[learned] == label]))
        for label in np.unique(labels)
    }
    known = [label for label, count in groups_by_label.items() if count >= 2]
    if len(known) < 2:
        return None
    unexamined = tuple(label for label in groups_by_label if label not in known)
    learned = learned[np.isin(labels[learned], known)]
    tested = np.flatnonzero((splits == features.TEST) & np.isin(labels, known))
    # On a busy machine BLAS' threads wait for each other: 40 times the time of one alone.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        block, strength = _choose(by_block, labels, splits, known, seed)
    values = _prepared(by_block[block], learned, len(known), seed)
    of_class = np.searchsorted(known, labels)  # numbers without gaps
    folds = min(FOLDS, *(groups_by_label[label] for label in known))
    probabilities = np.zeros([len(labels), len(known)])
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        parts = splitter.split(values[learned], of_class[learned], groups[learned])
        for fitting, judged in parts:
            _judge(values, of_class, learned[fitting], learned[judged], strength, probabilities)
            advance(1)
        if len(tested):
            _judge(values, of_class, learned, tested, strength, probabilities)
        advance(1)
    issues: list[LabelIssue] = []
    for part in (learned, tested):
        issues += _issues(probabilities, of_class, part, known)
    predicted = probabilities[learned].argmax(axis=1)
    return Labels(
        block=block,
        accuracy=float((predicted == of_class[learned]).mean()),
        issues=tuple(sorted(issues, key=lambda issue: issue.given_probability)),
        pairs=_pairs(probabilities[learned], of_class[learned], known),
        unexamined=unexamined,
    )


def _without_large(groups: npt.NDArray[np.int64], of_class: float) -> npt.NDArray[np.int64]:
    """Dissolves groups that would put much of a class into one fold."""
    is_large = np.bincount(groups)[groups] > _LARGEST_GROUP * of_class
    own = groups.max() + 1 + np.arange(len(groups))
    return np.where(is_large, own, groups)


def _choose(
    by_block: dict[str, npt.NDArray[np.float32]],
    labels: npt.NDArray[np.int64],
    splits: npt.NDArray[np.str_],
    known: list[int],
    seed: int,
) -> tuple[str, float]:
    """Returns the block and the penalty's strength with the lowest cross-entropy on validation.

    That, and not accuracy: a classifier that is too sure of itself doubts right labels as well.
    """
    random = np.random.default_rng(seed)
    train, validation = (
        random.permutation(np.flatnonzero((splits == split) & np.isin(labels, known)))[:_PROBED]
        for split in (features.TRAIN, features.VALIDATION)
    )
    losses: dict[tuple[str, float], float] = {}
    for block, values in by_block.items():
        scaler = StandardScaler().fit(values[train])
        fitting, judging = scaler.transform(values[train]), scaler.transform(values[validation])
        classifier = LogisticRegression(warm_start=True, max_iter=_STEPS)
        for strength in STRENGTHS:
            classifier.set_params(C=strength).fit(fitting, labels[train])
            judged = np.full([len(validation), len(known)], np.finfo(float).tiny)
            places = np.searchsorted(known, classifier.classes_)
            judged[:, places] = classifier.predict_proba(judging)
            own = judged[np.arange(len(validation)), np.searchsorted(known, labels[validation])]
            losses[block, strength] = float(-np.log(np.maximum(own, 1e-9)).mean())
    return min(losses, key=losses.__getitem__)


def _prepared(
    values: npt.NDArray[np.float32], learned: npt.NDArray[np.int64], classes: int, seed: int
) -> npt.NDArray[np.float32]:
    """Standardises features, and reduces them where classes and images are many."""
    scaled = StandardScaler().fit(values[learned]).transform(values)
    if len(learned) * values.shape[1] * classes <= _WORK or values.shape[1] <= _REDUCED:
        return scaled
    reduced = PCA(_REDUCED, svd_solver="randomized", random_state=seed).fit(scaled[learned])
    return reduced.transform(scaled)


def _judge(
    values: npt.NDArray[np.float32],
    of_class: npt.NDArray[np.int64],
    fitting: npt.NDArray[np.int64],
    judged: npt.NDArray[np.int64],
    strength: float,
    probabilities: npt.NDArray[np.float64],
) -> None:
    """Fits to some images and writes the probabilities of others."""
    classifier = LogisticRegression(C=strength, max_iter=_STEPS)
    classifier.fit(values[fitting], of_class[fitting])
    probabilities[np.ix_(judged, classifier.classes_)] = classifier.predict_proba(values[judged])


def _issues(
    probabilities: npt.NDArray[np.float64],
    of_class: npt.NDArray[np.int64],
    part: npt.NDArray[np.int64],
    known: list[int],
) -> list[LabelIssue]:
    given, judged = of_class[part], probabilities[part]
    if len(np.unique(given)) < len(known):  # cleanlab wants each class
        found = judged.argmax(axis=1) != given
    else:
        found = find_label_issues(given, judged, filter_by="both", n_jobs=1)
    suggested = judged.argmax(axis=1)
    rows = np.arange(len(part))
    return [
        LabelIssue(
            int(part[row]),
            known[suggested[row]],
            float(judged[row, given[row]]),
            float(judged[row, suggested[row]]),
            bool(judged[row, given[row]] * len(known) <= LIKELY),
        )
        for row in rows[found & (suggested != given)]
    ]


def _pairs(
    probabilities: npt.NDArray[np.float64], of_class: npt.NDArray[np.int64], known: list[int]
) -> tuple[ClassPair, ...]:
    predicted = probabilities.argmax(axis=1)
    counts = np.zeros([len(known)] * 2, np.int64)
    np.add.at(counts, (of_class, predicted), 1)
    both = np.triu(counts + counts.T, 1)
    found = []
    for place in np.argsort(-both, axis=None, kind="stable")[:_PAIRS].tolist():
        first, second = divmod(place, len(known))
        if not both[first, second]:
            break
        of_pair = np.isin(of_class, (first, second))
        one, other = probabilities[of_pair, first], probabilities[of_pair, second]
        share = other / np.maximum(one + other, np.finfo(float).tiny)
        auc = float(roc_auc_score(of_class[of_pair] == second, share))
        if auc < APART:
            pair = ClassPair(known[first], known[second], auc, int(both[first, second]))
            found.append(pair)
    return tuple(sorted(found, key=lambda pair: pair.auc))
