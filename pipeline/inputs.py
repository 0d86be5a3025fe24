"""What a run needs on disk before the DAG starts: records, schema and backbone."""

import hashlib
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from google.protobuf import text_format

from inception_finetune.components.backbone import load, module, standin
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.backbone.networks import AUTO, NETWORKS
from inception_finetune.components.backbone.settings import STANDIN
from inception_finetune.components.backbone.weights import importing
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
    unpacked,
)
from inception_finetune.components.dataset.source import BrowsableSource, Source
from inception_finetune.components.errors import UserError
from inception_finetune.components.image.schema import curated_schema
from inception_finetune.components.io.address import public_address
from inception_finetune.components.io.download import download, is_remote
from inception_finetune.components.shown_text import visible
from inception_finetune.pipeline.beam_options import pipeline_arguments
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.locks import cache_lock
from inception_finetune.pipeline.tested_classes import require_tested

# https://www.cs.toronto.edu/~kriz/cifar.html gives the address and the checksum.
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"
LONGEST_NAME = 100  # characters of a downloaded file's name that are kept


@dataclass(frozen=True)
class Inputs:
    """Places and facts that `create_pipeline` wires in; all paths are absolute."""

    records: str  # folder of `<split>-*.tfrecord`
    schema_file: str
    dataset_fingerprint: str  # sha256 of the archive's pictures, labels and names
    label_names: tuple[str, ...]
    network: str  # one of components/backbone/networks, which the backbone is
    backbone: str  # link to the module's folder
    backbone_fingerprint: str
    serving: str  # folder that the pushed versions lie in
    metadata: str | None  # SQLite file; None where the runner has metadata of its own


def prepare_inputs(config: Config) -> Inputs:
    """Fetches, converts and resolves; what is there already is checked and used again.

    Raises:
      UserError: for each foreseeable failure, and where the gate bounds a class without a test
        picture.
    """
    root = Path(config.root).resolve()
    manifest = convert_dataset(config, records_directory(config))
    if config.gate.needs_every_class:
        require_tested(records_directory(config), manifest.label_names)
    directory = resolve_backbone(config)
    fingerprint = module.fingerprint(directory)
    return Inputs(
        records=str(records_directory(config)),
        schema_file=str(_write_schema(root / "schema", len(manifest.label_names))),
        dataset_fingerprint=manifest.fingerprint,
        label_names=tuple(manifest.label_names),
        network=find_network(config, directory).name,
        backbone=str(_link_backbone(root / "backbones", directory, fingerprint)),
        backbone_fingerprint=fingerprint,
        serving=str(serving_directory(config)),
        metadata=str(metadata_file(config)),
    )


def records_directory(config: Config) -> Path:
    """Where the converted TFRecords lie."""
    return Path(config.root).resolve() / "records"


def serving_directory(config: Config) -> Path:
    """Where the pushed versions lie, as TensorFlow Serving wants them."""
    return Path(config.root).resolve() / "serving" / config.name


def metadata_file(config: Config) -> Path:
    """The SQLite file of ML Metadata."""
    return Path(config.root).resolve() / "metadata.sqlite"


def fetch_archive(config: Config) -> Path:
    """The archive's local path, downloaded or made where it is not there yet."""
    source, sha256 = config.dataset.archive, config.dataset.sha256
    cache = Path(config.cache).resolve()
    archives = cache / "archives"
    layout.require_known_suffix(public_address(source))
    if source == "digits":
        return digits.write_digits_archive(archives / "digits.tar.gz")
    if source == "cifar10":
        with cache_lock(cache):
            return download(CIFAR10_URL, archives / "cifar-10-python.tar.gz", md5=CIFAR10_MD5)
    if not is_remote(source):
        return download(source, archives, sha256=sha256)  # it is used where it lies
    address = hashlib.sha256(source.encode()).hexdigest()[:12]
    name = PurePosixPath(urlsplit(source).path).name
    # Without a checksum, only its own end tells a whole archive from half of one, or from a page.
    suffix = PurePosixPath(name).suffix.lower()
    is_of_columns = suffix in (".parquet", ".arrow")
    check = columns.require_whole if is_of_columns else unpacked.require_whole_archive
    target = archives / f"{address}-{name[-LONGEST_NAME:]}"
    with cache_lock(cache):
        known = None if sha256 or suffix in list_text.LIST_SUFFIXES else check
        return download(source, target, sha256=sha256, check=known, revalidate=True)


def find_layout(config: Config) -> layout.Layout:
    """What the configured data is, once it lies here.

    Raises:
      UserError: it cannot be fetched, or has another layout than `dataset.layout` says.
    """
    archives = Path(config.cache).resolve() / "unpacked"
    return layout.layout_of(fetch_archive(config), config.dataset.layout, archives)


def convert_dataset(
    config: Config, directory: Path, found: layout.Layout | None = None
) -> convert.Manifest:
    """Converts the configured data into `directory`; a no-op where that was done before.

    Guesses, and examples that are left out, are reported on stderr and in the manifest.

    Args:
      config: names the data, and how it is split and checked.
      directory: receives the records.
      found: what `find_layout` returned, where it was called before.

    Returns:
      The manifest of the records.

    Raises:
      UserError: the data cannot be fetched, read or converted.
    """
    dataset, found = config.dataset, found or find_layout(config)
    policy = dataset.policy
    fixes = corrections.NO_CORRECTIONS
    if dataset.corrections:
        fixes = corrections.read_corrections(Path(dataset.corrections).expanduser())

    def converted(source: Source) -> convert.Manifest:
        return convert.convert(
            source,
            directory,
            validation_fraction=dataset.validation_fraction,
            seed=dataset.seed,
            policy=policy,
            corrections=fixes,
            notes=found.notes,
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
    _say([found.line, *manifest.notes])
    if manifest.skipped:
        line = bad_examples.skipped_line(manifest.skipped, str(directory / convert.MANIFEST_FILE))
        _say([line])
    if manifest.corrected:
        table = str(directory / convert.MANIFEST_FILE)
        _say([corrections.corrected_line(manifest.corrected, table)])
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


def _say(notes: Iterable[str]) -> None:
    for note in notes:
        print(visible(note), file=sys.stderr, flush=True)


def resolve_backbone(config: Config) -> Path:
    """The module's local folder, made in the cache where the handle is a file of weights.

    The handle "standin" makes one that is not pretrained.
    """
    cache = Path(config.cache).resolve()
    network, handle = config.backbone.network, config.backbone.handle
    local = Path(handle).expanduser()
    is_kept = handle == STANDIN or is_remote(handle) or local.is_file()
    is_kept = is_kept or importing.is_source(local)
    with cache_lock(cache) if is_kept else nullcontext():  # a module is used where it lies
        if handle == STANDIN:
            # A network that takes one size alone is made for it.
            size = config.image.size if NETWORKS[network].is_sized else None
            directory = cache / f"backbones/{STANDIN}-{network}{f'-{size}' if size else ''}"
            standin.make_standin(directory, seed=0, network=network, image_size=size)
            return directory
        found = module.resolve(handle, cache / "backbones", importing.is_source)
        if importing.is_source(found):
            return importing.import_once(found, cache / "backbones", network)
        return found.resolve()


def find_network(config: Config, directory: Path) -> Backbone:
    """The network of a module, which the configuration names or leaves to be recognised.

    Raises:
      UserError: it is recognised, and its blocks or its smallest images are not the configured.
    """
    if config.backbone.network != AUTO:
        return NETWORKS[config.backbone.network]
    backbone = load.choose_network(AUTO, load.checkpoint_names(directory), directory)
    try:
        config.require_fit(backbone)
    except ValueError as error:
        raise UserError(
            f"{error} (backbone.network=auto recognised the network in {directory})."
        ) from None
    return backbone


def _link_backbone(directory: Path, target: Path, fingerprint: str) -> Path:
    """A path that stays the same where the cache moves: TFX's cache goes by it."""
    link = directory / fingerprint[:16]
    if link.exists() and not link.is_symlink():
        raise UserError(
            f"{link} is not a link: the link to the backbone belongs there. Move it away."
        )
    if not link.is_symlink() or link.readlink() != target:
        directory.mkdir(parents=True, exist_ok=True)
        temporary = link.with_suffix(".part")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(link)
    return link


def _write_schema(directory: Path, classes: int) -> Path:
    """Writes the schema under its own hash: ImportSchemaGen's cache goes by the path alone."""
    text = text_format.MessageToString(curated_schema(classes))
    target = directory / hashlib.sha256(text.encode()).hexdigest()[:12] / "schema.pbtxt"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(".part")
        temporary.write_text(text, "utf-8")
        temporary.replace(target)
    return target
