"""The configured data set: fetched, recognised, read, converted."""

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from inception_finetune.components.dataset import (
    archive,
    bad_examples,
    changes,
    columns,
    contained,
    convert,
    convert_listed,
    corrections,
    digits,
    layout,
    list_text,
    listing,
    records,
)
from inception_finetune.components.dataset.settings import Dataset
from inception_finetune.components.dataset.source import BrowsableSource, Source
from inception_finetune.components.dataset.unpacked import require_whole_archive
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.address import public_address
from inception_finetune.components.io.download import download, is_remote
from inception_finetune.components.io.object_store import is_in_store
from inception_finetune.components.io.store_copy import copy_from_store
from inception_finetune.components.shown_text import visible
from inception_finetune.pipeline.beam_options import pipeline_arguments
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.locks import cache_lock

# https://www.cs.toronto.edu/~kriz/cifar.html gives the address and the checksum.
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"
OWN = ("cifar10", "digits")  # archives whose layout is known
LONGEST_NAME = 100  # characters of a downloaded file's name that are kept


def fetch_archive(config: Config) -> Path:
    """The archive's local path, downloaded, copied or made where it is not there yet.

    Raises:
      UserError: it does not exist, cannot be fetched, or can be seen not to be a data set.
    """
    source, sha256 = config.dataset.archive, config.dataset.sha256
    cache = Path(config.cache).resolve()
    archives = cache / "archives"
    if config.dataset.spans:
        raise UserError(
            f"dataset.spans={config.dataset.spans} is no single data set, which is what this "
            "command reads. Give one span with dataset.spans=null dataset.archive=FOLDER, and "
            "dataset.golden=null."
        )
    layout.require_known_suffix(public_address(source))
    if source == "digits":
        return digits.write_digits_archive(archives / "digits.tar.gz")
    if source == "cifar10":
        with cache_lock(cache):
            return download(CIFAR10_URL, archives / "cifar-10-python.tar.gz", md5=CIFAR10_MD5)
    address = hashlib.sha256(source.encode()).hexdigest()[:12]
    check = None if sha256 else _check_of(public_address(source))
    if is_in_store(source):
        with cache_lock(cache):
            return copy_from_store(source, archives / address, sha256=sha256, check=check)
    if not is_remote(source):
        return download(source, archives, sha256=sha256)  # it is used where it lies
    name = PurePosixPath(urlsplit(source).path).name
    target = archives / f"{address}-{name[-LONGEST_NAME:]}"
    with cache_lock(cache):
        return download(source, target, sha256=sha256, check=check, revalidate=True)


def _check_of(name: str) -> Callable[[Path], None] | None:
    """Returns what tells a whole file of this name from half of one, or from a page."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in list_text.LIST_SUFFIXES:
        return None
    return columns.require_whole if suffix in (".parquet", ".arrow") else require_whole_archive


def find_layout(config: Config) -> layout.Layout:
    """What the configured data is, once it lies here.

    Raises:
      UserError: it cannot be fetched, has another layout than `dataset.layout` says, or lacks the
        columns that are named.
    """
    found = recognise(config)
    layout.require_columns_used(found, config.dataset.columns)
    return found


def recognise(config: Config) -> layout.Layout:
    """As `find_layout`, but named columns are for tables alone, and else no error."""
    archives, dataset = Path(config.cache).resolve() / "unpacked", config.dataset
    return layout.layout_of(fetch_archive(config), dataset.layout, archives, dataset.columns)


def convert_dataset(
    config: Config,
    directory: Path,
    found: layout.Layout | None = None,
    copies: Mapping[str, str] | None = None,
) -> convert.Manifest:
    """Converts the configured data into `directory`; a no-op where that was done before.

    Guesses, and examples that are left out, are reported on stderr and in the manifest.

    Args:
      config: names the data, and how it is split and checked.
      directory: receives the records.
      found: what `find_layout` returned, where it was called before.
      copies: images to leave out, each with the test image that it shows.

    Returns:
      The manifest of the records.

    Raises:
      UserError: the data cannot be fetched, read or converted.
    """
    dataset, policy = config.dataset, config.dataset.policy
    fixes = corrections.NO_CORRECTIONS
    if dataset.corrections:
        fixes = corrections.read_corrections(Path(dataset.corrections).expanduser())
    fixes = replace(fixes, copies=copies or {})
    if dataset.spans:
        return _said(directory, _convert_window(config, directory, fixes))
    found = found or find_layout(config)
    notes = found.notes

    def converted(source: Source) -> convert.Manifest:
        return convert.convert(
            source,
            directory,
            validation_fraction=dataset.validation_fraction,
            seed=dataset.seed,
            policy=policy,
            corrections=fixes,
            notes=notes,
        )

    if found.kind == "cifar":
        manifest = converted(archive.read_archive(found.path, policy))
    elif found.kind == "records" and not found.is_contained:
        # To decode all pictures takes longer than to hash their files.
        unchanged = convert.converted(
            records.records_fingerprint(found),
            directory,
            validation_fraction=dataset.validation_fraction,
            seed=dataset.seed,
            policy=policy,
            corrections=fixes,
        )
        manifest = unchanged or converted(records.read_records(found, policy))
    else:
        manifest = convert_listed.convert_listed(
            found,
            directory,
            validation_fraction=dataset.validation_fraction,
            test_fraction=dataset.test_fraction,
            seed=dataset.seed,
            policy=policy,
            corrections=fixes,
            beam_arguments=pipeline_arguments(config.beam),
        )
    _say(_guessed(dataset, found))
    return _said(directory, manifest)


def _convert_window(
    config: Config, directory: Path, fixes: corrections.Corrections
) -> convert.Manifest:
    """Converts the window of `dataset.spans`."""
    from inception_finetune.pipeline.spans import read_window  # imports TFX

    def fetch(address: str) -> Path:
        of_one = {"archive": address, "spans": None, "sha256": None}
        dataset = config.dataset.model_copy(update=of_one)
        return fetch_archive(config.model_copy(update={"dataset": dataset}))

    window = read_window(config, fetch, read_source, lambda line: _say([line]))
    return convert.convert(
        window.source,
        directory,
        validation_fraction=config.dataset.validation_fraction,
        seed=config.dataset.seed,
        policy=config.dataset.policy,
        corrections=fixes,
        notes=window.notes,
        spans=window.spans,
    )


def _said(directory: Path, manifest: convert.Manifest) -> convert.Manifest:
    """Reports what a conversion guessed, left out and changed, and returns its manifest."""
    _say(manifest.notes)
    if manifest.skipped:
        line = bad_examples.skipped_line(manifest.skipped, str(directory / convert.MANIFEST_FILE))
        _say([line])
    _say(corrections.corrected_lines(manifest.corrected, str(directory / convert.MANIFEST_FILE)))
    _say(changes.changed_lines(manifest.changed, str(directory / convert.MANIFEST_FILE)))
    return manifest


def read_source(found: layout.Layout, policy: bad_examples.Policy) -> BrowsableSource:
    """Reads and checks a data set on this machine; says what it is and what was guessed."""
    source: BrowsableSource
    notes: tuple[str, ...] = ()
    if found.kind == "cifar":
        source = archive.read_archive(found.path, policy)
    elif found.is_contained:
        source, notes = contained.read_copied(found, policy)
    elif found.kind == "records":
        notes, source = found.notes, records.read_records(found, policy)
    else:
        source = listing.read_listed(found, policy)
        notes = listing.notes_on(found, source.label_names)
    _say([found.line, *notes])
    return source


def _guessed(dataset: Dataset, found: layout.Layout) -> list[str]:
    """Returns the line on what the data were taken for, where that had to be recognised."""
    return [] if dataset.archive in OWN else [found.line]


def _say(notes: Iterable[str]) -> None:
    for note in notes:
        print(visible(note), file=sys.stderr, flush=True)
