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
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from components.dataset.bad_examples import STRICT, Policy, Skipped
from components.dataset.convert import (
    EXAMPLES_PER_SHARD,
    existing_conversion,
    labels_text,
    put_in_place,
    refuse_foreign_files,
)
from components.dataset.leakage import settle
from components.dataset.listing import Listing, write_listing
from components.dataset.look import FILE_RULE, LARGEST_FILE, Seen, look
from components.dataset.manifest import Manifest, Settings, write_manifest
from components.dataset.part import (
    Bad,
    Listed,
    Reports,
    collect,
    number,
    place,
    read_address,
    write_part,
)
from components.errors import UserError
from components.features import LABELS_FILE, SPLITS, TEST, TRAIN, VALIDATION

CONVERTER_VERSION: Final = 3  # raise it when the same source and settings give other bytes


def convert_listed(
    source: Path,
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
    names none for validation, `validation_fraction` of what is left to train: by a hash of seed
    and pixels, so that equal pictures are not parted.

    Raises:
      UserError: the source fits no layout, a split has nothing to learn from, or pictures are bad
        or test pictures in train as well and the policy does not leave them out.
    """
    refuse_foreign_files(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as tmp:
        lines, fresh = Path(tmp) / "listing.jsonl", Path(tmp) / "new"
        skipped = Skipped(policy)
        listing = write_listing(source, lines, skipped)
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
            skipped.bad(identity, reason, str(source))
        settle(found.leaks, skipped)
        _check(found, listing, source)
        manifest = Manifest(
            *made_of, listing.label_names, found.shards, policy=policy, skipped=skipped.reasons
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
    if len(found.train_labels) < 2:
        [label] = found.train_labels
        raise UserError(
            "training needs images of two classes or more. Received: images of "
            f"{listing.label_names[label]} alone in {source}; add the others to train"
        )


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

    with beam.Pipeline(options=PipelineOptions(list(beam_arguments))) as root:
        _ = (
            root
            | "Listing" >> beam.io.ReadFromText(str(lines))
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.Map(_read, settings, policy)
            | "Part" >> beam.Map(lambda found: (place(found) % parts, found))
            | "Meet" >> beam.GroupByKey()
            | "Write" >> beam.Map(write_part, str(fresh), parts, settings.seed, policy)
        )


def _read(line: str, settings: Settings, policy: Policy) -> Listed | Bad:
    identity, address, label, split = json.loads(line)
    try:
        encoded = read_address(address)
    except OSError as error:
        told = " ".join((error.strerror or str(error)).split())
        seen: Seen | str = f"a listed picture can be read, here it cannot ({told})"
    else:
        seen = f"{FILE_RULE}, here more" if len(encoded) > LARGEST_FILE else look(encoded)
    if isinstance(seen, str):
        Skipped(policy).bad(identity, seen, address)  # stops at once where the policy is to fail
        return Bad(identity, seen)
    split = _split(split, seen.digest, settings)
    return Listed(identity, address, label, split, hashlib.sha256(encoded).digest(), seen)


def _split(named: str, digest: bytes, settings: Settings) -> str:
    """As the source has it or, where it leaves that open, as the digest says."""
    if named in (TEST, VALIDATION):
        return named
    test, validation = (
        number(hashlib.sha256(f"{settings.seed} {name} ".encode() + digest).digest()) / 2**64
        for name in (TEST, VALIDATION)
    )
    if not named and test < (settings.test_fraction or 0):
        return TEST
    return VALIDATION if validation < settings.validation_fraction else TRAIN
