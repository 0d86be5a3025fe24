"""An archive becomes TFRecord shards, `labels.txt` and a manifest, all at once or not at all."""

from __future__ import annotations

import math
import multiprocessing
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from components.dataset.archive import Archive
from components.dataset.manifest import (
    MANIFEST_FILE,
    Manifest,
    Settings,
    Shard,
    is_whole,
    load_manifest,
    write_manifest,
)
from components.dataset.shards import ShardSource, write_shard
from components.errors import UserError
from components.features import LABELS_FILE, TEST, TRAIN, VALIDATION
from components.progress import progress

__all__ = ["Manifest", "convert", "load_manifest"]

CONVERTER_VERSION: Final = 1  # raise it when the same archive and settings give other bytes
EXAMPLES_PER_SHARD: Final = 1024  # 2.4 MB at 32 pixels; also the unit of work of a process
_SHARD: Final = re.compile(rf"({TRAIN}|{VALIDATION}|{TEST})-\d{{5,}}-of-\d{{5,}}\.tfrecord")
# A process is worth its start (1 s on a busy machine) where it writes for as long: 8,000 images/s.
_IMAGES_PER_WORKER: Final = 8192


def convert(
    archive: Archive,
    directory: Path,
    *,
    validation_fraction: float,
    seed: int,
    examples_per_shard: int = EXAMPLES_PER_SHARD,
    workers: int | None = None,
) -> Manifest:
    """Writes the archive to `directory` as train, validation and test examples.

    The validation images are a stratified sample of the train batches, and the test images are
    the test batch. Train examples are shuffled by `seed`. The same archive and settings give the
    same bytes with any number of `workers` (processes; None takes what the machine has and the
    archive deserves). A directory that holds this very conversion already is left untouched.

    Raises:
      UserError: a setting is out of range, or `directory` holds files of another origin.
    """
    settings = Settings(validation_fraction, seed, examples_per_shard)
    _check(settings, workers)
    made_of = (CONVERTER_VERSION, archive.fingerprint, settings)
    if (existing := existing_conversion(directory, made_of, archive.label_names)) is not None:
        return existing
    refuse_foreign_files(directory)
    splits = _split(archive, settings)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as tmp:
            fresh = Path(tmp) / "new"
            fresh.mkdir()
            shards = _write_shards(archive, splits, fresh, examples_per_shard, workers)
            manifest = Manifest(*made_of, archive.label_names, shards)
            (fresh / LABELS_FILE).write_text(labels_text(archive.label_names), encoding="utf-8")
            write_manifest(manifest, fresh)
            put_in_place(fresh, directory, Path(tmp) / "old")
    except OSError as error:
        raise UserError(
            f"cannot write the converted data set to {directory}: {error}; "
            "make room there, or choose another directory"
        ) from error
    return manifest


def _check(settings: Settings, workers: int | None) -> None:
    if not 0 < settings.validation_fraction < 1:
        raise UserError(
            f"validation_fraction lies between 0 and 1, received {settings.validation_fraction}"
        )
    if settings.seed < 0:
        raise UserError(f"a seed is not negative, received {settings.seed}")
    if settings.examples_per_shard < 1:
        raise UserError(f"a shard holds 1 example or more, received {settings.examples_per_shard}")
    if workers is not None and workers < 1:
        raise UserError(f"workers is 1 or more, received {workers}")


def existing_conversion(
    directory: Path, made_of: tuple[int, str, Settings], label_names: Sequence[str]
) -> Manifest | None:
    """The manifest of this very conversion, if `directory` holds it whole.

    `made_of` are the converter's version, the source's fingerprint and the settings.
    """
    try:
        manifest = load_manifest(directory)
    except UserError:
        return None
    if (manifest.converter_version, manifest.fingerprint, manifest.settings) != made_of:
        return None
    labels = labels_text(label_names).encode()
    try:
        if (directory / LABELS_FILE).read_bytes() != labels:
            return None
        whole = all(is_whole(shard, directory) for shard in chain(*manifest.shards.values()))
    except OSError:
        return None
    return manifest if whole else None


def refuse_foreign_files(directory: Path) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UserError(f"a data set is written to a directory, but {directory} is a file")
    for path in sorted(directory.iterdir()):
        if path.name not in (LABELS_FILE, MANIFEST_FILE) and not _SHARD.fullmatch(path.name):
            raise UserError(
                f"{directory} would be replaced, but holds {path.name}, which no conversion wrote; "
                "move it away or choose another directory"
            )


def put_in_place(fresh: Path, directory: Path, old: Path) -> None:
    replaces = directory.exists()
    if replaces:
        directory.rename(old)
    try:
        fresh.rename(directory)
    except OSError:
        if replaces:
            old.rename(directory)
        raise


def labels_text(label_names: Sequence[str]) -> str:
    return "".join(f"{label}:{name}\n" for label, name in enumerate(label_names))


def _split(archive: Archive, settings: Settings) -> dict[str, npt.NDArray[np.int64]]:
    """Which images each split takes: their indices in all batches put one after another."""
    labels = np.concatenate([batch.labels for batch in archive.batches])
    is_test = np.concatenate(
        [np.full(len(batch.labels), batch.split == TEST) for batch in archive.batches]
    )
    random = np.random.default_rng(settings.seed)
    shuffled = random.permutation(np.flatnonzero(~is_test))
    validation: list[npt.NDArray[np.int64]] = []
    for label in range(len(archive.label_names)):
        of_class = shuffled[labels[shuffled] == label]
        validation.append(of_class[: round(len(of_class) * settings.validation_fraction)])
    held_out = np.sort(np.concatenate(validation))
    train = shuffled[~np.isin(shuffled, held_out)]
    if not len(held_out) or not len(train):
        raise UserError(
            f"validation_fraction {settings.validation_fraction} of {len(shuffled)} images leaves "
            f"{len(train)} for training and {len(held_out)} for validation; both need some"
        )
    return {TRAIN: train, VALIDATION: held_out, TEST: np.flatnonzero(is_test)}


def _write_shards(
    archive: Archive,
    splits: dict[str, npt.NDArray[np.int64]],
    directory: Path,
    examples_per_shard: int,
    workers: int | None,
) -> dict[str, tuple[Shard, ...]]:
    images = np.concatenate([batch.images for batch in archive.batches])
    labels = np.concatenate([batch.labels for batch in archive.batches])
    ids = [f"{batch.name}:{i}" for batch in archive.batches for i in range(len(batch.labels))]
    sources: list[ShardSource] = []
    for split, indices in splits.items():
        count = math.ceil(len(indices) / examples_per_shard)
        for number, part in enumerate(np.array_split(indices, count)):
            path = directory / f"{split}-{number:05d}-of-{count:05d}.tfrecord"
            sources.append(
                ShardSource(path, images[part], labels[part], tuple(ids[i] for i in part))
            )
    if workers is None:
        workers = max(1, min(len(os.sched_getaffinity(0)), len(images) // _IMAGES_PER_WORKER))
    written: dict[str, Shard] = {}
    with progress("Converting", len(images), "images") as advance:
        for shard in _written(sources, min(workers, len(sources))):
            written[shard.file] = shard
            advance(shard.examples)
    shards = [written[source.path.name] for source in sources]
    return {
        split: tuple(shard for shard in shards if shard.file.startswith(f"{split}-"))
        for split in splits
    }


def _written(sources: Sequence[ShardSource], workers: int) -> Iterator[Shard]:
    """Shards in whatever order they are done. Each is written by one process alone."""
    if workers == 1:
        yield from map(write_shard, sources)
        return
    # Spawned, because forking a process that TensorFlow has given threads may hang it.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(write_shard, source) for source in sources]):
                yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                f"one of {workers} converter processes died, most likely for want of memory; "
                "convert with fewer workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
