"""Converts a source to TFRecord shards, `labels.txt` and a manifest, completely or not at all."""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from inception_finetune.components.dataset.bad_examples import STRICT, Policy, Skipped
from inception_finetune.components.dataset.conversion_folder import (
    put_in_place,
    refuse_foreign_files,
    writing,
)
from inception_finetune.components.dataset.corrected_source import CorrectedSource
from inception_finetune.components.dataset.corrections import NO_CORRECTIONS, Corrections
from inception_finetune.components.dataset.hold_out import held_out
from inception_finetune.components.dataset.leakage import leave_out_leaks
from inception_finetune.components.dataset.manifest import (
    MANIFEST_FILE,
    Manifest,
    Settings,
    Shard,
    is_whole,
    load_manifest,
    write_manifest,
)
from inception_finetune.components.dataset.shards import ShardSource, write_shard
from inception_finetune.components.dataset.source import Source
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import LABELS_FILE, TEST, TRAIN, VALIDATION
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.components.lifetime import end_with
from inception_finetune.components.progress import progress

__all__ = ["MANIFEST_FILE", "Manifest", "convert", "load_manifest"]

CONVERTER_VERSION: Final = 3  # raise it when the same archive and settings give other bytes
EXAMPLES_PER_SHARD: Final = 1024  # 2.4 MB at 32 pixels; also the unit of work of a process
# A process is worth its start (1 s on a busy machine) where it writes for as long: 8,000 images/s.
_IMAGES_PER_WORKER: Final = 8192
_NAMED: Final = 5  # classes in a message


def convert(
    source: Source,
    directory: Path,
    *,
    validation_fraction: float,
    seed: int,
    policy: Policy = STRICT,
    corrections: Corrections = NO_CORRECTIONS,
    notes: Sequence[str] = (),
    spans: Mapping[str, int] | None = None,
    examples_per_shard: int = EXAMPLES_PER_SHARD,
    workers: int | None = None,
) -> Manifest:
    """Writes a source to `directory` as train, validation and test examples.

    The validation images are a stratified sample of train that keeps copies together, unless the
    source has a validation split. Train examples are shuffled by `seed`. The same source and
    settings give the same bytes with any number of workers. A directory that holds this very
    conversion already is left untouched.

    Args:
      source: the examples.
      directory: receives the data set; an older conversion there is replaced.
      validation_fraction: of train, in (0, 1).
      seed: of validation split and shuffling.
      policy: what happens to bad examples and leaks.
      corrections: of labels, and images that are left out.
      notes: remarks on the source, for the manifest.
      spans: pictures of each span of which the source is a window, for the manifest.
      examples_per_shard: the largest number of examples in a file.
      workers: number of processes; None chooses by the machine and the size of the source.

    Raises:
      UserError: a setting is out of range, test images are in train as well, a split has nothing to
        learn from, or `directory` holds files of another origin.
    """
    settings = Settings(validation_fraction, seed, examples_per_shard)
    _check(settings, workers)
    skipped = Skipped(policy)
    skipped.reasons.update(source.skipped)
    source = CorrectedSource(source, corrections)
    corrected = source.corrected
    left_out = leave_out_leaks(source, skipped)
    made_of = (CONVERTER_VERSION, source.fingerprint, settings)
    existing = existing_conversion(directory, made_of)
    if existing and existing.skipped == skipped.reasons:
        if existing.policy != policy:  # that leaves out the same: the records stay as they are
            existing = replace(existing, policy=policy)
            write_manifest(existing, directory)
        return existing
    with writing(directory):
        refuse_foreign_files(directory)
    splits = _split(source, settings, left_out)
    with writing(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(f".{directory.name}-", directory.parent) as tmp:
            fresh = tmp / "new"
            fresh.mkdir()
            shards = _write_shards(source, splits, fresh, examples_per_shard, workers)
            manifest = Manifest(
                *made_of,
                source.label_names,
                shards,
                policy=policy,
                skipped=skipped.reasons,
                corrected=corrected,
                notes=(*notes, *not_measured(source.label_names, source.labels[splits[TEST]])),
                spans=dict(spans or {}),
            )
            (fresh / LABELS_FILE).write_text(labels_text(source.label_names), encoding="utf-8")
            write_manifest(manifest, fresh)
            put_in_place(fresh, directory, tmp / "old")
    return manifest


def converted(
    fingerprint: str,
    directory: Path,
    *,
    validation_fraction: float,
    seed: int,
    policy: Policy,
    corrections: Corrections = NO_CORRECTIONS,
    examples_per_shard: int = EXAMPLES_PER_SHARD,
) -> Manifest | None:
    """Returns the manifest if `directory` holds what `convert` would make of a source.

    Args:
      fingerprint: the source's.
      directory: of the conversion.
      validation_fraction: as in `convert`.
      seed: as in `convert`.
      policy: as in `convert`.
      corrections: as in `convert`.
      examples_per_shard: as in `convert`.
    """
    settings = Settings(validation_fraction, seed, examples_per_shard)
    made_of = (CONVERTER_VERSION, corrections.fingerprint(fingerprint), settings, policy)
    manifest = _load_intact(directory)
    if manifest is None:
        return None
    same = (
        manifest.converter_version,
        manifest.fingerprint,
        manifest.settings,
        manifest.policy,
    ) == made_of
    return manifest if same else None


def _check(settings: Settings, workers: int | None) -> None:
    if not 0 < settings.validation_fraction < 1:
        raise UserError(
            f"validation_fraction is {settings.validation_fraction}, not between 0 and 1. "
            "Correct it."
        )
    if settings.seed < 0:
        raise UserError(f"seed is {settings.seed}, and must not be negative. Correct it.")
    if settings.examples_per_shard < 1:
        raise UserError(
            f"examples_per_shard is {settings.examples_per_shard}, and must be 1 or more. "
            "Correct it."
        )
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}, and must be 1 or more. Correct it.")


def existing_conversion(directory: Path, made_of: tuple[int, str, Settings]) -> Manifest | None:
    """Returns the manifest of this very conversion, if `directory` holds it complete.

    Args:
      directory: of the conversion.
      made_of: the converter's version, the source's fingerprint and the settings.
    """
    existing = _load_intact(directory)
    if existing is None:
        return None
    existing_origin = (existing.converter_version, existing.fingerprint, existing.settings)
    return existing if existing_origin == made_of else None


def _load_intact(directory: Path) -> Manifest | None:
    """Returns the manifest of a conversion that `directory` holds complete, if there is one."""
    try:
        manifest = load_manifest(directory)
    except UserError:
        return None
    labels = labels_text(manifest.label_names).encode()
    try:
        if (directory / LABELS_FILE).read_bytes() != labels:
            return None
        all_whole = all(is_whole(shard, directory) for shard in chain(*manifest.shards.values()))
    except OSError:
        return None
    return manifest if all_whole else None


def require_all_taught(label_names: Sequence[str], train_labels: Iterable[int]) -> None:
    """Checks that each class has a train example.

    Args:
      label_names: names of all classes.
      train_labels: labels of the train examples to be written.

    Raises:
      UserError: a class has none.
    """
    if missing := _without(label_names, train_labels):
        raise UserError(
            f"Classes without a picture in train: {missing}. Add pictures to train, or remove "
            "the class."
        )


def not_measured(label_names: Sequence[str], test_labels: Iterable[int]) -> list[str]:
    """Returns a note on the classes that have no test example, if there are any."""
    missing = _without(label_names, test_labels)
    return [f"no test picture, so nothing is measured, of {missing}"] if missing else []


def _without(label_names: Sequence[str], labels: Iterable[int]) -> str:
    """Names the classes that do not occur in `labels`, at most the first `_NAMED`."""
    present = set(labels)
    missing = [name for label, name in enumerate(label_names) if label not in present]
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return ", ".join(missing[:_NAMED]) + more


def labels_text(label_names: Sequence[str]) -> str:
    """Returns the content of `labels.txt`: ``<id>:<name>`` a line."""
    return "".join(f"{label}:{name}\n" for label, name in enumerate(label_names))


def _split(
    source: Source, settings: Settings, leaks: Collection[int]
) -> dict[str, npt.NDArray[np.int64]]:
    """Returns the indices of each split's examples in the source."""
    is_kept = np.array(
        [i not in leaks and id_ not in source.skipped for i, id_ in enumerate(source.ids)], bool
    )
    labels, splits = source.labels, source.splits
    test = np.flatnonzero(is_kept & (splits == TEST))
    train = np.flatnonzero(is_kept & (splits == TRAIN))
    validation = np.flatnonzero(is_kept & (splits == VALIDATION))
    carved = not len(validation)
    if carved:
        is_held_out = held_out(
            [source.digests[index] for index in train.tolist()],
            labels[train],
            split=VALIDATION,
            fraction=settings.validation_fraction,
            seed=settings.seed,
        )
        train, validation = train[~is_held_out], train[is_held_out]
    if not len(test):
        raise UserError(
            "No test examples can be used, and the gate measures on them. Add some to the data."
        )
    if carved and (not len(validation) or not len(train)):
        raise UserError(
            f"validation_fraction={settings.validation_fraction} of "
            f"{len(train) + len(validation)} images leaves {len(train)} for training and "
            f"{len(validation)} for validation: both need some. Change it, or add images."
        )
    require_all_taught(source.label_names, labels[train])
    shuffled = np.random.default_rng(settings.seed).permutation(train)
    return {TRAIN: shuffled, VALIDATION: validation, TEST: test}


def _write_shards(
    source: Source,
    splits: dict[str, npt.NDArray[np.int64]],
    directory: Path,
    examples_per_shard: int,
    workers: int | None,
) -> dict[str, tuple[Shard, ...]]:
    total = sum(len(indices) for indices in splits.values())
    sources: list[ShardSource] = []
    for split, indices in splits.items():
        count = math.ceil(len(indices) / examples_per_shard)
        for number, part in enumerate(np.array_split(indices, count)):
            path = directory / f"{split}-{number:05d}-of-{count:05d}.tfrecord"
            sources.append(
                ShardSource(
                    path,
                    source.pictures(part),
                    source.labels[part],
                    tuple(source.ids[i] for i in part),
                )
            )
    if workers is None:
        workers = max(1, min(len(os.sched_getaffinity(0)), total // _IMAGES_PER_WORKER))
    shard_by_name: dict[str, Shard] = {}
    with progress("Converting", total, "images") as advance:
        for shard in _write_in_processes(sources, min(workers, len(sources))):
            shard_by_name[shard.file] = shard
            advance(shard.examples)
    shards = [shard_by_name[shard_source.path.name] for shard_source in sources]
    return {
        split: tuple(shard for shard in shards if shard.file.startswith(f"{split}-"))
        for split in splits
    }


def _write_in_processes(sources: Sequence[ShardSource], workers: int) -> Iterator[Shard]:
    """Iterates over shards in the order of completion; each is written by one process alone."""
    if workers == 1:
        yield from map(write_shard, sources)
        return
    # Spawned, because forking a process that TensorFlow has given threads may hang it.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, spawned, initializer=end_with, initargs=(os.getpid(),)
    ) as pool:
        try:
            for future in as_completed([pool.submit(write_shard, one) for one in sources]):
                yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                f"One of {workers} converter processes died, most likely for want of memory. "
                "Convert with fewer workers."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
