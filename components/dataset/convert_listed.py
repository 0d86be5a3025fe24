"""Converts images that do not fit one machine to TFRecord shards: a Beam pipeline.

Each worker reads and checks images and sends their names to a partition that is chosen by a digest
of their pixels. So equal images meet, whatever their names, and the same source and settings give
the same bytes on any engine. Rejected images go the same way, with a reason.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from inception_finetune.components.dataset.bad_examples import STRICT, Policy, Skipped
from inception_finetune.components.dataset.contained import contained_fingerprint, copy_out
from inception_finetune.components.dataset.conversion_folder import (
    put_in_place,
    refuse_foreign_files,
    writing,
)
from inception_finetune.components.dataset.convert import (
    EXAMPLES_PER_SHARD,
    existing_conversion,
    labels_text,
    not_measured,
    require_all_taught,
)
from inception_finetune.components.dataset.corrections import NO_CORRECTIONS, Corrections
from inception_finetune.components.dataset.hold_out import bound
from inception_finetune.components.dataset.layout import Layout
from inception_finetune.components.dataset.leakage import apply_leakage_policy
from inception_finetune.components.dataset.listing import Listing, write_listing
from inception_finetune.components.dataset.manifest import Manifest, Settings, write_manifest
from inception_finetune.components.dataset.partition import (
    OPEN,
    ListedPicture,
    RejectedPicture,
    Reports,
    UnassignedPicture,
    collect_reports,
    partition_key,
    read_encoded,
    write_partition,
)
from inception_finetune.components.dataset.probe import probe_image
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import LABELS_FILE, SPLITS, TEST, TRAIN, VALIDATION
from inception_finetune.components.io.marked_folder import scratch_folder

CONVERTER_VERSION: Final = 4  # raise it when the same source and settings give other bytes


def convert_listed(
    layout: Layout,
    directory: Path,
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    beam_arguments: Sequence[str],
    policy: Policy = STRICT,
    corrections: Corrections = NO_CORRECTIONS,
    examples_per_shard: int = EXAMPLES_PER_SHARD,
) -> Manifest:
    """Writes the images of a folder, list or other files to `directory`, which all workers see.

    Images that lie inside of other files are copied out of them, into a temporary file beside
    `directory` that all workers must see as well.

    Where the source names no test images, `test_fraction` of all become test, and where it names
    none for validation, `validation_fraction` of the rest: of each class, and by a hash of seed and
    pixels, so that copies stay together.

    Args:
      layout: the folder, list or files.
      directory: receives the data set; an older conversion there is replaced.
      validation_fraction: in [0, 1).
      test_fraction: in [0, 1).
      seed: of the splits and the shuffling.
      beam_arguments: Beam's options, such as ``--runner=FlinkRunner``.
      policy: what happens to bad examples and leaks.
      corrections: of labels, and images that are left out.
      examples_per_shard: about how many examples a partition has.

    Raises:
      UserError: `directory` cannot be written, the source fits no layout, a split has nothing to
        learn from, or images are bad or test images in train as well and the policy does not skip
        them.
    """
    with writing(directory):
        refuse_foreign_files(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(f".{directory.name}-", directory.parent) as tmp:
        lines, fresh = tmp / "listing.jsonl", tmp / "new"
        skipped = Skipped(policy)
        listing = None if layout.is_contained else write_listing(layout, lines, skipped)
        splits = listing.splits if listing else layout.splits
        if TEST in splits:
            test_fraction = 0.0
        if VALIDATION in splits:
            validation_fraction = 0.0
        settings = Settings(validation_fraction, seed, examples_per_shard, test_fraction)
        settings = replace(
            settings, image_column=layout.columns.image, label_column=layout.columns.label
        )
        fingerprint = listing.fingerprint if listing else contained_fingerprint(layout)
        made_of = (CONVERTER_VERSION, corrections.fingerprint(fingerprint), settings)
        existing = existing_conversion(directory, made_of)
        if existing is not None and existing.policy == policy:
            return existing
        if listing is None:
            listing = copy_out(layout, lines, tmp / "pictures", skipped)
        corrected, removed = correct_listing(lines, listing.label_names, corrections)
        listing = replace(listing, count=listing.count - removed)
        fresh.mkdir()
        parts = math.ceil(listing.count / examples_per_shard)
        _run(lines, fresh, parts, settings, policy, str(layout.shown), beam_arguments)
        reports = collect_reports(fresh)
        for identity, reason in reports.rejected.items():
            skipped.reject(identity, reason, str(layout.shown))
        apply_leakage_policy(reports.leaks, skipped)
        _check(reports, listing, layout.shown)
        manifest = Manifest(
            *made_of,
            listing.label_names,
            reports.shards,
            policy=policy,
            skipped=skipped.reasons,
            corrected=corrected,
            notes=(*listing.notes, *not_measured(listing.label_names, reports.labels[TEST])),
        )
        (fresh / LABELS_FILE).write_text(labels_text(listing.label_names), encoding="utf-8")
        write_manifest(manifest, fresh)
        put_in_place(fresh, directory, tmp / "old")
    return manifest


def correct_listing(
    lines: Path, label_names: Sequence[str], corrections: Corrections
) -> tuple[dict[str, str], int]:
    """Corrects the lines of a listing where it lies.

    Args:
      lines: of `write_listing` or `copy_out`.
      label_names: by label.
      corrections: of labels, and images that are left out.

    Returns:
      What was done to each corrected image, by id, and the number of images that are left out.

    Raises:
      UserError: a correction names no class, or is of no image.
    """
    corrected: dict[str, str] = {}
    removed = 0
    if corrections.by_id or corrections.copies:
        fresh = lines.with_suffix(".corrected")
        with fresh.open("w", encoding="utf-8") as file:
            for line in _lines(str(lines)):
                identity, place, label, *rest = json.loads(line)
                if corrections.concern(identity):
                    new = corrections.label(identity, label, label_names)
                    corrected[identity] = corrections.described(identity, label, new, label_names)
                    if new is None:
                        removed += 1
                        continue
                    line = json.dumps([identity, place, new, *rest]) + "\n"
                file.write(line)
        fresh.replace(lines)
    corrections.require_met(corrected)
    return corrected, removed


def _check(reports: Reports, listing: Listing, source: Path) -> None:
    accounted_for = reports.written + len(reports.rejected) + len(reports.leaks)
    if accounted_for != listing.count:
        raise UserError(
            f"Pictures of {source} were lost: {listing.count} are listed, but {accounted_for} "
            "were written or left out by name. Convert again."
        )
    if missing := [split for split in SPLITS if not reports.shards[split]]:
        raise UserError(
            f"{source} with {listing.count} pictures leaves {', '.join(missing)} empty. Give "
            "more pictures, or larger dataset.validation_fraction and dataset.test_fraction."
        )
    require_all_taught(listing.label_names, reports.labels[TRAIN])


def _run(
    lines: Path,
    fresh: Path,
    parts: int,
    settings: Settings,
    policy: Policy,
    source: str,
    beam_arguments: Sequence[str],
) -> None:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.pvalue import AsDict

    with beam.Pipeline(options=PipelineOptions(list(beam_arguments))) as root:
        pictures = (
            root
            | "Listing" >> beam.Create([str(lines)])  # ReadFromText takes a path for a pattern
            | "Lines" >> beam.FlatMap(_lines)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.Map(_read, policy, source)
        )
        bounds = (
            pictures
            | "Rank" >> beam.FlatMap(_ranks, settings)
            | "Class" >> beam.GroupByKey()
            | "Bound" >> beam.Map(_bounds, settings)
        )
        _ = (
            pictures
            | "Part" >> beam.Map(lambda picture: (partition_key(picture) % parts, picture))
            | "Meet" >> beam.GroupByKey()
            | "Write"
            >> beam.Map(write_partition, str(fresh), parts, settings.seed, policy, AsDict(bounds))
        )


def _lines(listing: str) -> Iterator[str]:
    with Path(listing).open(encoding="utf-8") as file:
        yield from file


def _read(line: str, policy: Policy, source: str) -> ListedPicture | RejectedPicture:
    identity, address, label, split, *place = json.loads(line)
    where = source if place else address  # a copy is of no use to the user
    encoded = read_encoded(address, *place)
    if isinstance(encoded, str):
        return _reject(identity, encoded, where, policy)
    info = probe_image(encoded)
    if isinstance(info, str):
        return _reject(identity, info, where, policy)
    digest = hashlib.sha256(encoded).digest()
    return ListedPicture(identity, address, label, split, digest, info, *place)


def _reject(identity: str, reason: str, address: str, policy: Policy) -> RejectedPicture:
    Skipped(policy).reject(identity, reason, address)  # stops at once where the policy is to fail
    return RejectedPicture(identity, reason)


def _ranks(
    picture: ListedPicture | RejectedPicture, settings: Settings
) -> Iterator[tuple[int, UnassignedPicture]]:
    """Yields label and ranks of an image whose split the source leaves open."""
    if isinstance(picture, ListedPicture) and picture.split in OPEN:
        yield picture.label, UnassignedPicture.of(picture, settings.seed)


def _bounds(
    of_label: tuple[int, Iterable[UnassignedPicture]], settings: Settings
) -> tuple[int, dict[str, int]]:
    """Returns the label and, by split, the rank below which its images are held out."""
    label, of_class = of_label[0], list(of_label[1])
    bounds = dict.fromkeys((TEST, VALIDATION), 0)
    if testable := [one.test_rank for one in of_class if one.may_be_test]:
        bounds[TEST] = bound(testable, settings.test_fraction or 0.0)
    if rest := [one.validation_rank for one in of_class if not one.is_test(bounds[TEST])]:
        bounds[VALIDATION] = bound(rest, settings.validation_fraction)
    return label, bounds
