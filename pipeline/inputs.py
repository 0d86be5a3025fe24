"""What a run needs on disk before the DAG starts: records, schema and backbone."""

import hashlib
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format

from components.backbone import module, standin
from components.dataset import (
    archive,
    bad_examples,
    changes,
    convert,
    convert_listed,
    digits,
    folder,
    listing,
    records,
)
from components.dataset.bad_examples import Policy
from components.dataset.source import Source
from components.download import download, is_remote
from components.schema import curated_schema
from components.settings import SCRATCH_CNN
from components.tar import require_whole_tar
from pipeline.beam_options import pipeline_arguments
from pipeline.config import Config
from pipeline.exclusive import in_turn

# https://www.cs.toronto.edu/~kriz/cifar.html gives the address and the checksum.
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"


@dataclass(frozen=True)
class Inputs:
    """Places and facts that `create_pipeline` wires in; all paths are absolute."""

    records: str  # folder of `<split>-*.tfrecord`
    schema_file: str
    dataset_fingerprint: str  # sha256 of the archive's pictures, labels and names
    label_names: tuple[str, ...]
    backbone: str  # folder of the resolved module; "" for scratch_cnn, which has none
    backbone_fingerprint: str
    serving: str  # folder that the pushed versions lie in
    metadata: str | None  # SQLite file; None where the runner has metadata of its own


def prepare_inputs(config: Config) -> Inputs:
    """Fetches, converts and resolves; what is there already is checked and used again."""
    root = Path(config.root).resolve()
    manifest = convert_dataset(config, records_directory(config))
    backbone, fingerprint = "", SCRATCH_CNN
    if config.backbone.handle != SCRATCH_CNN:
        backbone = str(resolve_backbone(config))
        fingerprint = module.fingerprint(Path(backbone))
    return Inputs(
        records=str(records_directory(config)),
        schema_file=str(_write_schema(root / "schema", len(manifest.label_names))),
        dataset_fingerprint=manifest.fingerprint,
        label_names=tuple(manifest.label_names),
        backbone=backbone,
        backbone_fingerprint=fingerprint,
        serving=str(serving_directory(config)),
        metadata=str(metadata_file(config)),
    )


def records_directory(config: Config) -> Path:
    return Path(config.root).resolve() / "records"


def serving_directory(config: Config) -> Path:
    return Path(config.root).resolve() / "serving" / config.name


def metadata_file(config: Config) -> Path:
    return Path(config.root).resolve() / "metadata.sqlite"


def fetch_archive(config: Config) -> Path:
    """The archive's local path, downloaded or made where it is not there yet."""
    source, sha256 = config.dataset.archive, config.dataset.sha256
    cache = Path(config.cache).resolve()
    archives = cache / "archives"
    if source == "digits":
        return digits.write_digits_archive(archives / "digits.tar.gz")
    if source == "cifar10":
        with in_turn(cache):
            return download(CIFAR10_URL, archives / "cifar-10-python.tar.gz", md5=CIFAR10_MD5)
    if not is_remote(source):
        return download(source, archives, sha256=sha256)  # it is used where it lies
    address = hashlib.sha256(source.encode()).hexdigest()[:12]
    # Without a checksum, only its own end tells a whole archive from half of one, or from a page.
    is_list = Path(source).suffix in listing.LIST_SUFFIXES
    check = None if sha256 or is_list else require_whole_tar
    target = archives / f"{address}-{Path(source).name}"
    with in_turn(cache):
        return download(source, target, sha256=sha256, check=check)


def convert_dataset(config: Config, directory: Path) -> convert.Manifest:
    """Converts the configured data into `directory`; a no-op where that was done before.

    Examples that are left out are named on stderr, and listed in the manifest.
    """
    dataset, source = config.dataset, fetch_archive(config)
    policy = dataset.policy

    def converted(read: Callable[[Path, Policy], Source]) -> convert.Manifest:
        return convert.convert(
            read(source, policy),
            directory,
            validation_fraction=dataset.validation_fraction,
            seed=dataset.seed,
            policy=policy,
        )

    def unless_unchanged(fingerprint: str) -> convert.Manifest | None:
        """What is there already: to decode all pictures takes longer than to hash their files."""
        return convert.converted(
            fingerprint,
            directory,
            validation_fraction=dataset.validation_fraction,
            seed=dataset.seed,
            policy=policy,
        )

    if source.is_dir() and records.holds_records(source):
        manifest = unless_unchanged(records.records_fingerprint(source))
        manifest = manifest or converted(records.read_records)
    elif source.is_dir() and folder.holds_pictures(source):
        manifest = unless_unchanged(folder.folder_fingerprint(source))
        manifest = manifest or converted(folder.read_folder)
    elif listing.is_listed(source):
        manifest = _convert_on_beam(config, source, directory)
    else:
        manifest = converted(archive.read_archive)
    if manifest.skipped:
        line = bad_examples.skipped_line(manifest.skipped, str(directory / convert.MANIFEST_FILE))
        print(line, file=sys.stderr, flush=True)
    for line in changes.changed_lines(manifest.changed, str(directory / convert.MANIFEST_FILE)):
        print(line, file=sys.stderr, flush=True)
    return manifest


def _convert_on_beam(config: Config, source: Path, directory: Path) -> convert.Manifest:
    """Class folders or a list of addresses: they may be more than fits this machine."""
    dataset = config.dataset
    return convert_listed.convert_listed(
        source,
        directory,
        validation_fraction=dataset.validation_fraction,
        test_fraction=dataset.test_fraction,
        seed=dataset.seed,
        policy=dataset.policy,
        beam_arguments=pipeline_arguments(config.beam),
    )


def resolve_backbone(config: Config) -> Path:
    """The module's local folder; the handle "standin" makes one that is not pretrained."""
    cache = Path(config.cache).resolve()
    handle = config.backbone.handle
    is_kept = handle == "standin" or is_remote(handle) or Path(handle).is_file()
    with in_turn(cache) if is_kept else nullcontext():  # else it is used where it lies
        if handle == "standin":
            directory = cache / "backbones/standin"
            standin.make_standin(directory, seed=0)
            return directory
        return module.resolve(handle, cache / "backbones").resolve()


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
