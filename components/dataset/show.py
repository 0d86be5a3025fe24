"""What is in an archive: counts, labels, oddities and pictures, before anything is trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from components.dataset.archive import NO_LABEL, Archive, Batch
from components.errors import UserError
from components.features import TEST, TRAIN

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FIRST_LABELS: Final = 20  # as many as the original article prints
# CIFAR-10 is 1.0 and the digits are 1.1; from here on accuracy alone begins to flatter.
IMBALANCE_RATIO: Final = 1.5  # images of the largest class over those of the smallest
_EXAMPLES_NAMED: Final = 3  # in the text of a problem


@dataclass(frozen=True)
class BatchSummary:
    name: str
    split: str
    count: int
    label_counts: tuple[int, ...]  # by label id
    first_labels: tuple[int, ...]


@dataclass(frozen=True)
class Summary:
    label_names: tuple[str, ...]
    batches: tuple[BatchSummary, ...]
    duplicates: tuple[tuple[str, ...], ...]  # groups of image ids with the very same pixels
    leaks: tuple[tuple[str, ...], ...]  # the groups among them in both train and test
    blanks: tuple[str, ...]  # ids of images of a single colour
    problems: tuple[str, ...]  # all of it in words, and class imbalance; empty if none


@dataclass(frozen=True)
class Sample:
    id: str  # "<batch>:<index>"
    shape: tuple[int, ...]
    minimum: int
    maximum: int
    label: int
    label_name: str


def summarize(archive: Archive) -> Summary:
    """Counts labels and looks for duplicate and blank images and class imbalance."""
    groups = _identical_images(archive)
    tests = {batch.name for batch in archive.batches if batch.split == TEST}
    leaks = tuple(
        group for group in groups if len({_batch_name(id_) in tests for id_ in group}) == 2
    )
    blanks = tuple(
        f"{batch.name}:{index}"
        for batch in archive.batches
        for index in np.flatnonzero((batch.images == batch.images[:, :1, :1]).all(axis=(1, 2, 3)))
    )
    batches = tuple(
        BatchSummary(
            name=batch.name,
            split=batch.split,
            count=len(batch.labels),
            label_counts=_label_counts(archive, batch),
            first_labels=tuple(batch.labels[:FIRST_LABELS].tolist()),
        )
        for batch in archive.batches
    )
    problems = [
        *(f"left out: {identity}: {reason}" for identity, reason in archive.skipped.items()),
        *_describe_duplicates(groups, leaks),
        *_describe_blanks(blanks),
        *_describe_imbalance(archive.label_names, batches),
    ]
    return Summary(archive.label_names, batches, groups, leaks, blanks, tuple(problems))


def describe_samples(archive: Archive, samples: Sequence[tuple[str, int]]) -> tuple[Sample, ...]:
    """Shape, range and label of the images that (batch name, index) choose.

    Raises:
      UserError: there is no such batch or index.
    """
    described = []
    for name, index in samples:
        batch = find_batch(archive, name, index)
        image, label = batch.images[index], int(batch.labels[index])
        described.append(
            Sample(
                id=f"{name}:{index}",
                shape=image.shape,
                minimum=int(image.min()),
                maximum=int(image.max()),
                label=label,
                label_name="left out" if label == NO_LABEL else archive.label_names[label],
            )
        )
    return tuple(described)


def find_batch(archive: Archive, name: str, index: int) -> Batch:
    batches = {batch.name: batch for batch in archive.batches}
    if name not in batches:
        raise UserError(f"no batch {name!r} in this archive; it has {', '.join(batches)}")
    if not 0 <= index < len(batches[name].labels):
        raise UserError(f"{name} has images 0 to {len(batches[name].labels) - 1}, received {index}")
    return batches[name]


def print_summary(summary: Summary, console: Console) -> None:
    """Prints the batches, the label counts and the problems; fits 80 columns."""
    from rich.markup import escape

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
    counts.add_column("all", justify="right", style="bold")
    for label, name in enumerate(summary.label_names):
        row = [batch.label_counts[label] for batch in summary.batches]
        counts.add_row(f"{label} {escape(name)}", *(f"{n:,}" for n in row), f"{sum(row):,}")
    console.print(counts)

    for problem in summary.problems:
        console.print(f"[yellow]![/] {escape(problem)}", highlight=False)
    if not summary.problems:
        console.print("[green]No duplicate or blank images, no class imbalance.[/]")
    console.print()


def print_samples(samples: Sequence[Sample], console: Console) -> None:
    from rich.markup import escape

    table = _table("Samples")
    for heading in ("image", "shape", "min", "max", "label"):
        table.add_column(heading, justify="right" if heading in ("min", "max") else "left")
    for sample in samples:
        shape = "x".join(map(str, sample.shape))
        label = f"{sample.label} {escape(sample.label_name)}"
        table.add_row(sample.id, shape, str(sample.minimum), str(sample.maximum), label)
    console.print(table)


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)


def _batch_name(image_id: str) -> str:
    return image_id.rpartition(":")[0]


def _label_counts(archive: Archive, batch: Batch) -> tuple[int, ...]:
    labels = batch.labels[batch.labels != NO_LABEL]
    return tuple(np.bincount(labels, minlength=len(archive.label_names)).tolist())


def _identical_images(archive: Archive) -> tuple[tuple[str, ...], ...]:
    by_pixels: defaultdict[bytes, list[str]] = defaultdict(list)
    for identity, digest in zip(archive.ids, archive.digests, strict=True):
        by_pixels[digest].append(identity)
    return tuple(tuple(group) for group in by_pixels.values() if len(group) > 1)


def _describe_duplicates(
    groups: Sequence[tuple[str, ...]], leaks: Sequence[tuple[str, ...]]
) -> list[str]:
    problems = []
    if leaks:
        problems.append(
            f"{_images(len(leaks), 'stands', 'stand')} in train and in test, so the test flatters: "
            + _some([" = ".join(group) for group in leaks])
        )
    if others := [group for group in groups if group not in leaks]:
        problems.append(
            f"{_images(len(others), 'occurs', 'occur')} more than once: "
            + _some([" = ".join(group) for group in others])
        )
    return problems


def _describe_blanks(blanks: Sequence[str]) -> list[str]:
    if not blanks:
        return []
    return [f"{_images(len(blanks), 'is', 'are')} of a single colour: {_some(blanks)}"]


def _describe_imbalance(names: Sequence[str], batches: Sequence[BatchSummary]) -> list[str]:
    problems = []
    for split in (TRAIN, TEST):
        counts = np.sum([batch.label_counts for batch in batches if batch.split == split], axis=0)
        least, most = int(counts.argmin()), int(counts.argmax())
        if counts[most] > IMBALANCE_RATIO * counts[least]:
            problems.append(
                f"the classes of {split} are out of balance: {counts[most]:,} of {names[most]}, "
                f"{counts[least]:,} of {names[least]}"
            )
    return problems


def _images(count: int, singular: str, plural: str) -> str:
    return f"1 image {singular}" if count == 1 else f"{count:,} images {plural}"


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - _EXAMPLES_NAMED
    return ", ".join(texts[:_EXAMPLES_NAMED]) + (f" and {more} more" if more > 0 else "")
