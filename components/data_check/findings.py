"""All that was found in a data set, as one object that is written as JSON."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from inception_finetune.components import features
from inception_finetune.components.data_check.label_issues import Labels
from inception_finetune.components.data_check.measured import Measured
from inception_finetune.components.data_check.near_duplicates import Pair, duplicate_groups
from inception_finetune.components.data_check.unusual import Unusual
from inception_finetune.components.evaluation.measures import CONFIDENCE
from inception_finetune.components.settings import Section

FEW: Final = 20  # train images of a class, below which it is said
UNBALANCED: Final = 1.5  # images of the largest class over those of the smallest
_WANTED: Final = 0.02  # half the width of the gate's interval that its number of images is told for


class Copies(Section):
    """Images that show the same."""

    members: tuple[str, ...]  # ids, those of test first
    correlation: float  # of the pair of them that is least alike
    across_test: bool  # whether an image of test and one of another split are such a pair
    across_labels: bool  # whether they have different labels


class Precision(Section):
    """How precisely the gate can measure on the test images."""

    images: int
    bound: float  # the accuracy that is asked for
    low: float  # 95 % Wilson interval of a model that has just this accuracy
    high: float
    wanted: int  # images at which the interval is 2 points to each side


class SplitCounts(Section):
    """Images of each class in one split."""

    split: str
    images: int
    by_label: tuple[int, ...]


class Findings(Section):
    """The result of a check."""

    dataset: str
    label_names: tuple[str, ...]
    images: int  # that were looked at
    total: int  # of the data set
    splits: tuple[SplitCounts, ...]
    precision: Precision
    copies: tuple[Copies, ...]  # those that lead into test first
    wrong_labels: tuple[str, ...]  # ids, the most contradicted first
    likely_wrong: int  # how many of them, from the first, are likely wrong
    label_block: str | None  # whose features labels were judged by; None if they were not
    label_accuracy: float | None
    unexamined: tuple[str, ...]  # classes with too few images for that
    confused: tuple[tuple[str, str, float, int], ...]  # classes, their AUC, images taken for other
    unusual: dict[str, tuple[str, ...]]  # kind -> ids
    notes: tuple[str, ...]  # on numbers of images


class Suggestion(NamedTuple):
    """A row of the table of corrections."""

    image: int  # index
    suggested: str  # a label's name, or REMOVE
    reason: str


def collect(
    dataset: str,
    label_names: Sequence[str],
    total: int,
    measured: Measured,
    pairs: list[Pair],
    labels: Labels | None,
    unusual: Sequence[Unusual],
    min_accuracy: float,
) -> Findings:
    """Puts together what was found.

    Args:
      dataset: its address.
      label_names: by label.
      total: images of the data set, of which `measured` may be a sample.
      measured: the images.
      pairs: of `near_duplicates`.
      labels: of `examine_labels`.
      unusual: of `unusual_images`.
      min_accuracy: of the gate.
    """
    counts = [_count(split, measured, len(label_names)) for split in features.SPLITS]
    by_kind: dict[str, list[str]] = {}
    for one in unusual:
        by_kind.setdefault(one.kind, []).append(measured.ids[one.image])
    issues = labels.issues if labels else ()
    test = int((measured.splits == features.TEST).sum())
    return Findings(
        dataset=dataset,
        label_names=tuple(label_names),
        images=len(measured.ids),
        total=total,
        splits=tuple(counts),
        precision=_precision(test, min_accuracy),
        copies=_copies(measured, pairs),
        wrong_labels=tuple(measured.ids[issue.image] for issue in issues),
        likely_wrong=sum(issue.is_likely for issue in issues),
        label_block=labels.block if labels else None,
        label_accuracy=labels.accuracy if labels else None,
        unexamined=tuple(label_names[label] for label in labels.unexamined) if labels else (),
        confused=tuple(
            (label_names[pair.first], label_names[pair.second], pair.auc, pair.confused)
            for pair in (labels.pairs if labels else ())
        ),
        unusual={kind: tuple(ids) for kind, ids in by_kind.items()},
        notes=tuple(_notes(counts, label_names)),
    )


def _count(split: str, measured: Measured, classes: int) -> SplitCounts:
    of_split = measured.labels[measured.splits == split]
    by_label = np.bincount(of_split, minlength=classes)
    return SplitCounts(split=split, images=len(of_split), by_label=tuple(by_label.tolist()))


def _precision(images: int, bound: float) -> Precision:
    correct = round(bound * images)
    low, high = 0.0, 1.0
    if images:
        interval = stats.binomtest(correct, images).proportion_ci(CONFIDENCE, method="wilson")
        low, high = interval.low, interval.high
    z = stats.norm.ppf((1 + CONFIDENCE) / 2)
    wanted = math.ceil(max(bound * (1 - bound), 0.01) * (z / _WANTED) ** 2)
    return Precision(images=images, bound=bound, low=low, high=high, wanted=wanted)


def _copies(measured: Measured, pairs: list[Pair]) -> tuple[Copies, ...]:
    groups = duplicate_groups(pairs, len(measured.ids))
    of_group: dict[int, list[Pair]] = {}
    for pair in pairs:
        of_group.setdefault(int(groups[pair.first]), []).append(pair)
    is_test = measured.splits == features.TEST
    copies = []
    for joined in of_group.values():
        members = sorted(
            {index for pair in joined for index in pair[:2]},
            key=lambda index: (not is_test[index], index),
        )
        copies.append(
            Copies(
                members=tuple(measured.ids[index] for index in members),
                correlation=min(1.0, joined[-1].correlation),  # they come sorted
                across_test=any(is_test[pair.first] != is_test[pair.second] for pair in joined),
                across_labels=len({int(measured.labels[index]) for index in members}) > 1,
            )
        )
    return tuple(
        sorted(copies, key=lambda one: (not one.across_test, -one.correlation, one.members))
    )


def _notes(counts: Sequence[SplitCounts], label_names: Sequence[str]) -> list[str]:
    notes = []
    for one in counts:
        if not one.images:
            continue
        least, most = int(np.argmin(one.by_label)), int(np.argmax(one.by_label))
        if one.split != features.VALIDATION and one.by_label[most] > (
            UNBALANCED * one.by_label[least]
        ):
            notes.append(
                f"The classes of {one.split} are out of balance: {one.by_label[most]:,} of "
                f"{label_names[most]}, {one.by_label[least]:,} of {label_names[least]}."
            )
        few = [name for name, n in zip(label_names, one.by_label, strict=True) if n < FEW]
        if one.split == features.TRAIN and few:
            shown = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
            notes.append(f"Fewer than {FEW} train images of: {shown}.")
    return notes


def suggestions(
    label_names: Sequence[str],
    measured: Measured,
    pairs: list[Pair],
    labels: Labels | None,
    unusual: Sequence[Unusual],
    remove: str,
) -> list[Suggestion]:
    """Lists what may be corrected: copies of test images elsewhere, labels, unusual images.

    Args:
      label_names: by label.
      measured: the images.
      pairs: of `near_duplicates`; only what is itself a pair is listed, not what a chain joins.
      labels: of `examine_labels`.
      unusual: of `unusual_images`.
      remove: the word for an image that is to be left out.

    Returns:
      One suggestion for each image, for the first reason that there is.
    """
    found: dict[int, Suggestion] = {}
    is_test = measured.splits == features.TEST
    for pair in pairs:
        if is_test[pair.first] != is_test[pair.second]:
            other, test = sorted(pair[:2], key=lambda index: is_test[index])
            reason = f"shows the same as {measured.ids[test]} of test ({pair.correlation:.3f})"
            found.setdefault(other, Suggestion(other, remove, reason))
    for issue in labels.issues if labels else ():
        reason = (
            f"label {'likely' if issue.is_likely else 'possibly'} wrong: probability "
            f"{issue.given_probability:.3f} against {issue.suggested_probability:.3f}"
        )
        suggestion = Suggestion(issue.image, label_names[issue.suggested], reason)
        found.setdefault(issue.image, suggestion)
    for one in unusual:
        found.setdefault(one.image, Suggestion(one.image, remove, one.kind))
    return list(found.values())
