"""Pictures that do not fit one machine become TFRecord shards: a Beam pipeline.

Each worker reads and checks pictures and sends their names, by a digest of their pixels, to the one
part that they belong to. So equal pictures meet, whatever their names, and the same source and
settings give the same bytes on any engine. What is bad goes the same way, with a reason.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from inception_finetune.components.dataset.bad_examples import STRICT, Policy, Skipped
from inception_finetune.components.dataset.convert import (
    EXAMPLES_PER_SHARD,
    existing_conversion,
    labels_text,
    not_measured,
    put_in_place,
    refuse_foreign_files,
    require_all_taught,
)
from inception_finetune.components.dataset.hold_out import bound
from inception_finetune.components.dataset.layout import Layout
from inception_finetune.components.dataset.leakage import settle
from inception_finetune.components.dataset.listing import Listing, write_listing
from inception_finetune.components.dataset.manifest import Manifest, Settings, write_manifest
from inception_finetune.components.dataset.partition import (
    OPEN,
    Bad,
    Listed,
    OpenPicture,
    Reports,
    collect,
    encoded_at,
    place,
    write_part,
)
from inception_finetune.components.dataset.probe import look
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import LABELS_FILE, SPLITS, TEST, TRAIN, VALIDATION

CONVERTER_VERSION: Final = 3  # raise it when the same source and settings give other bytes


def convert_listed(
    layout: Layout,
    directory: Path,
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    beam_arguments: Sequence[str],
    policy: Policy = STRICT,
    examples_per_shard: int = EXAMPLES_PER_SHARD,
) -> Manifest:
    """Writes the pictures of a folder or list to `directory`, which all workers must see.

    Where the source names no test pictures, `test_fraction` of all become test, and where it
    names none for validation, `validation_fraction` of what is left to train: of each class, and
    by a hash of seed and pixels, so that equal pictures are not parted.

    Raises:
      UserError: the source fits no layout, a split has nothing to learn from, or pictures are bad
        or test pictures in train as well and the policy does not leave them out.
    """
    refuse_foreign_files(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as tmp:
        lines, fresh = Path(tmp) / "listing.jsonl", Path(tmp) / "new"
        skipped = Skipped(policy)
        listing = write_listing(layout, lines, skipped)
        if TEST in listing.splits:
            test_fraction = 0.0
        if VALIDATION in listing.splits:
            validation_fraction = 0.0
        settings = Settings(validation_fraction, seed, examples_per_shard, test_fraction)
        made_of = (CONVERTER_VERSION, listing.fingerprint, settings)
        existing = existing_conversion(directory, made_of)
        if existing is not None and existing.policy == policy:
            return existing
        fresh.mkdir()
        parts = math.ceil(listing.count / examples_per_shard)
        _run(lines, fresh, parts, settings, policy, beam_arguments)
        found = collect(fresh)
        for identity, reason in found.bad.items():
            skipped.bad(identity, reason, str(layout.path))
        settle(found.leaks, skipped)
        _check(found, listing, layout.path)
        manifest = Manifest(
            *made_of,
            listing.label_names,
            found.shards,
            policy=policy,
            skipped=skipped.reasons,
            notes=(*listing.notes, *not_measured(listing.label_names, found.labels[TEST])),
        )
        (fresh / LABELS_FILE).write_text(labels_text(listing.label_names), encoding="utf-8")
        write_manifest(manifest, fresh)
        put_in_place(fresh, directory, Path(tmp) / "old")
    return manifest


def _check(found: Reports, listing: Listing, source: Path) -> None:
    accounted = found.written + len(found.bad) + len(found.leaks)
    if accounted != listing.count:
        raise UserError(
            f"every picture must be written or left out by name. {listing.count} of {source} are "
            f"listed, {accounted} were written or named; convert again"
        )
    if missing := [split for split in SPLITS if not found.shards[split]]:
        raise UserError(
            f"each of train, validation and test needs a picture. {source} with "
            f"{listing.count} pictures leaves {', '.join(missing)} empty; give more pictures "
            "or larger dataset.validation_fraction and dataset.test_fraction"
        )
    require_all_taught(listing.label_names, found.labels[TRAIN])


def _run(
    lines: Path,
    fresh: Path,
    parts: int,
    settings: Settings,
    policy: Policy,
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
            | "Read" >> beam.Map(_read, policy)
        )
        bounds = (
            pictures
            | "Rank" >> beam.FlatMap(_ranks, settings)
            | "Class" >> beam.GroupByKey()
            | "Bound" >> beam.Map(_bounds, settings)
        )
        _ = (
            pictures
            | "Part" >> beam.Map(lambda found: (place(found) % parts, found))
            | "Meet" >> beam.GroupByKey()
            | "Write"
            >> beam.Map(write_part, str(fresh), parts, settings.seed, policy, AsDict(bounds))
        )


def _lines(listing: str) -> Iterator[str]:
    with Path(listing).open(encoding="utf-8") as file:
        yield from file


def _read(line: str, policy: Policy) -> Listed | Bad:
    identity, address, label, split = json.loads(line)
    encoded = encoded_at(address)
    if isinstance(encoded, str):
        return _bad(identity, encoded, address, policy)
    seen = look(encoded)
    if isinstance(seen, str):
        return _bad(identity, seen, address, policy)
    return Listed(identity, address, label, split, hashlib.sha256(encoded).digest(), seen)


def _bad(identity: str, reason: str, address: str, policy: Policy) -> Bad:
    Skipped(policy).bad(identity, reason, address)  # stops at once where the policy is to fail
    return Bad(identity, reason)


def _ranks(picture: Listed | Bad, settings: Settings) -> Iterator[tuple[int, OpenPicture]]:
    """The label and ranks of a picture whose split the source leaves open."""
    if isinstance(picture, Listed) and picture.split in OPEN:
        yield picture.label, OpenPicture.of(picture, settings.seed)


def _bounds(
    of_label: tuple[int, Iterable[OpenPicture]], settings: Settings
) -> tuple[int, dict[str, int]]:
    """The label and, by split, the rank below which its pictures are held out."""
    label, of_class = of_label[0], list(of_label[1])
    bounds = dict.fromkeys((TEST, VALIDATION), 0)
    if testable := [one.test_rank for one in of_class if one.may_be_test]:
        bounds[TEST] = bound(testable, settings.test_fraction or 0.0)
    if rest := [one.validation_rank for one in of_class if not one.is_test(bounds[TEST])]:
        bounds[VALIDATION] = bound(rest, settings.validation_fraction)
    return label, bounds
