"""Summarises a data set before anything is trained: counts, labels, oddities, samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from inception_finetune.components.dataset.archive import NO_LABEL
from inception_finetune.components.dataset.source import BrowsableSource
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import TEST, VALIDATION
from inception_finetune.components.shown_text import plain, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FIRST_LABELS: Final = 20  # as many as the original article prints
# CIFAR-10 is 1.0 and the digits are 1.1; from here on accuracy alone is misleading.
IMBALANCE_RATIO: Final = 1.5  # images of the largest class over those of the smallest
_EXAMPLES_NAMED: Final = 3  # in the text of a problem
CLASSES_SHOWN: Final = 50  # in the tables and the picture


@dataclass(frozen=True)
class BatchSummary:
    """The examples of one batch, or of one split where a source has no batches."""

    name: str
    split: str
    count: int
    label_counts: tuple[int, ...]  # by label id
    first_labels: tuple[int, ...]


@dataclass(frozen=True)
class Summary:
    """The counts of a data set, and its problems."""

    label_names: tuple[str, ...]
    batches: tuple[BatchSummary, ...]
    duplicates: tuple[tuple[str, ...], ...]  # groups of image ids with the very same pixels
    leaks: tuple[tuple[str, ...], ...]  # the groups among them in both train and test
    blanks: tuple[str, ...]  # ids of images of a single colour
    problems: tuple[str, ...]  # all of it in words, and class imbalance; empty if none


@dataclass(frozen=True)
class Sample:
    """Properties of one image."""

    id: str  # "<batch>:<index>"
    shape: tuple[int, ...]
    minimum: int
    maximum: int
    label: int
    label_name: str


def summarize(source: BrowsableSource) -> Summary:
    """Counts labels and searches for duplicate and blank images and class imbalance."""
    same = _identical_images(source)
    groups = tuple(tuple(source.ids[i] for i in indices) for indices in same)
    leaks = tuple(
        group
        for group, indices in zip(groups, same, strict=True)
        if len({source.splits[i] == TEST for i in indices}) == 2
    )
    blanks = tuple(source.ids[i] for i in np.flatnonzero(source.blanks).tolist())
    batches = tuple(_summarize(source, name) for name in group_names(source))
    problems = [
        *(f"left out: {identity}: {reason}" for identity, reason in source.skipped.items()),
        *_describe_duplicates(groups, leaks),
        *_describe_blanks(blanks),
        *_describe_imbalance(source.label_names, batches),
    ]
    return Summary(source.label_names, batches, groups, leaks, blanks, tuple(problems))


def group_names(source: BrowsableSource) -> list[str]:
    """Returns the batches or splits, in the order of the examples.

    Raises:
      UserError: there are no examples.
    """
    if not len(source.ids):
        raise UserError(
            "No examples are left in this data set: all of them were left out. Correct the data."
        )
    return list(dict.fromkeys(source.groups.tolist()))


def describe_samples(
    source: BrowsableSource, samples: Sequence[tuple[str, int]]
) -> tuple[Sample, ...]:
    """Returns shape, range and label of chosen images.

    Args:
      source: the examples.
      samples: (batch name, index) of each.

    Raises:
      UserError: there is no such batch or index.
    """
    described = []
    for name, number in samples:
        index = example_index(source, name, number)
        image, label = source.pixels(index), int(source.labels[index])
        described.append(
            Sample(
                id=source.ids[index],
                shape=image.shape,
                minimum=int(image.min()),
                maximum=int(image.max()),
                label=label,
                label_name="left out" if label == NO_LABEL else source.label_names[label],
            )
        )
    return tuple(described)


def example_index(source: BrowsableSource, name: str, number: int) -> int:
    """Returns the index of an image in the source.

    Args:
      source: the examples.
      name: of a batch, or else of a split.
      number: of the image in it.

    Raises:
      UserError: there is no such batch or number.
    """
    names = group_names(source)
    if name not in names:
        raise UserError(
            f"No batch {name!r} in this archive: it has {', '.join(names)}. Give one of these."
        )
    indices = np.flatnonzero(source.groups == name)
    if not 0 <= number < len(indices):
        raise UserError(
            f"{name} has images 0 to {len(indices) - 1}, not {number}. Give one of these numbers."
        )
    return int(indices[number])


def print_summary(summary: Summary, console: Console) -> None:
    """Prints the batches, the label counts and the problems; fits 80 columns."""
    batches = _table("Batches")
    batches.add_column("batch")
    batches.add_column("split")
    batches.add_column("images", justify="right")
    batches.add_column(f"first {FIRST_LABELS} labels")
    for batch in summary.batches:
        first = " ".join(map(str, batch.first_labels))
        batches.add_row(batch.name, batch.split, f"{batch.count:,}", first)
    console.print(batches)

    counts = _table("Images of each label")
    counts.add_column("label")
    for batch in summary.batches:
        counts.add_column(batch.name.replace("_batch", "").replace("_", " "), justify="right")
    several = len(summary.batches) > 1
    if several:
        counts.add_column("all", justify="right", style="bold")
    for label, name in enumerate(summary.label_names[:CLASSES_SHOWN]):
        row = [batch.label_counts[label] for batch in summary.batches]
        shown = [*row, sum(row)] if several else row
        counts.add_row(plain(f"{label} {name}"), *(f"{n:,}" for n in shown))
    console.print(counts)
    if (more := len(summary.label_names) - CLASSES_SHOWN) > 0:
        console.print(f"and {more:,} more labels\n", highlight=False)

    from rich.text import Text

    for problem in summary.problems:
        console.print(Text.assemble(("!", "yellow"), " ", visible(problem)))
    if not summary.problems:
        console.print("[green]No duplicate or blank images, no class imbalance.[/]")
    console.print()


def print_samples(samples: Sequence[Sample], console: Console) -> None:
    """Prints a table of samples; fits 80 columns."""
    table = _table("Samples")
    for heading in ("image", "shape", "min", "max", "label"):
        justify: Literal["right", "left"] = "right" if heading in ("min", "max") else "left"
        table.add_column(heading, justify=justify, overflow="fold")
    for sample in samples:
        shape = "x".join(map(str, sample.shape))
        label = plain(f"{sample.label} {sample.label_name}")
        table.add_row(plain(sample.id), shape, str(sample.minimum), str(sample.maximum), label)
    console.print(table)


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)


def _summarize(source: BrowsableSource, name: str) -> BatchSummary:
    indices = np.flatnonzero(source.groups == name)
    labels = source.labels[indices]
    counts = np.bincount(labels[labels != NO_LABEL], minlength=len(source.label_names))
    return BatchSummary(
        name=name,
        split=str(source.splits[indices[0]]),
        count=len(indices),
        label_counts=tuple(counts.tolist()),
        first_labels=tuple(labels[:FIRST_LABELS].tolist()),
    )


def _identical_images(source: BrowsableSource) -> list[list[int]]:
    """Returns the indices of each group of images with the very same pixels."""
    by_pixels: defaultdict[bytes, list[int]] = defaultdict(list)
    for index, digest in enumerate(source.digests):
        by_pixels[digest].append(index)
    return [indices for indices in by_pixels.values() if len(indices) > 1]


def _describe_duplicates(
    groups: Sequence[tuple[str, ...]], leaks: Sequence[tuple[str, ...]]
) -> list[str]:
    problems = []
    if leaks:
        problems.append(
            f"{_images(len(leaks), 'stands', 'stand')} in train and in test, so test "
            "accuracy would be overestimated: "
            + _join_names([" = ".join(group) for group in leaks])
        )
    if others := [group for group in groups if group not in leaks]:
        problems.append(
            f"{_images(len(others), 'occurs', 'occur')} more than once: "
            + _join_names([" = ".join(group) for group in others])
        )
    return problems


def _describe_blanks(blanks: Sequence[str]) -> list[str]:
    if not blanks:
        return []
    return [f"{_images(len(blanks), 'is', 'are')} of a single colour: {_join_names(blanks)}"]


def _describe_imbalance(names: Sequence[str], batches: Sequence[BatchSummary]) -> list[str]:
    problems = []
    for split in dict.fromkeys(batch.split for batch in batches if batch.split != VALIDATION):
        counts = np.sum([batch.label_counts for batch in batches if batch.split == split], axis=0)
        least, most = int(counts.argmin()), int(counts.argmax())
        if counts[most] > IMBALANCE_RATIO * counts[least]:
            problems.append(
                f"the classes of {split or 'all'} are out of balance: "
                f"{counts[most]:,} of {names[most]}, {counts[least]:,} of {names[least]}"
            )
    return problems


def _images(count: int, singular: str, plural: str) -> str:
    return f"1 image {singular}" if count == 1 else f"{count:,} images {plural}"


def _join_names(texts: Sequence[str]) -> str:
    more = len(texts) - _EXAMPLES_NAMED
    return ", ".join(texts[:_EXAMPLES_NAMED]) + (f" and {more} more" if more > 0 else "")
