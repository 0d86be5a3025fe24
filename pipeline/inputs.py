"""What a run needs on disk before the DAG starts: records, schema and backbone."""

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format

from inception_finetune.components import features
from inception_finetune.components.backbone import load, module, standin
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.backbone.networks import AUTO, NETWORKS
from inception_finetune.components.backbone.settings import STANDIN
from inception_finetune.components.backbone.weights import importing
from inception_finetune.components.errors import UserError
from inception_finetune.components.image.schema import curated_schema
from inception_finetune.components.io.download import is_remote
from inception_finetune.components.io.whole_file import whole_file
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.data_set import convert_dataset
from inception_finetune.pipeline.locks import cache_lock
from inception_finetune.pipeline.tested_classes import require_tested


@dataclass(frozen=True)
class Inputs:
    """Places and facts that `create_pipeline` wires in; all paths are absolute."""

    records: str  # folder of `<split>-*.tfrecord`
    schema_file: str
    label_names: tuple[str, ...]
    network: str  # one of components/backbone/networks, which the backbone is
    backbone: str  # link to the module's folder
    backbone_fingerprint: str
    serving: str  # folder that the pushed versions lie in
    metadata: str | None  # SQLite file; None where the runner has metadata of its own
    spans: dict[str, int] = field(default_factory=dict)  # of a window: span -> pictures


def prepare_inputs(config: Config) -> Inputs:
    """Fetches, converts and resolves; what is there already is checked and used again.

    Raises:
      UserError: for each foreseeable failure, where the gate bounds a class without a test
        picture, and where the test pictures are too few to judge exports by.
    """
    root = Path(config.root).resolve()
    records, wanted = records_directory(config), config.dataset.on_near_duplicate
    # Kept whole beside the records, so that the next run finds both unchanged.
    whole = records if wanted == "report" else records.with_name(f"{records.name}-whole")
    manifest = convert_dataset(config, whole)
    directory = resolve_backbone(config)
    backbone = find_network(config, directory)
    if wanted != "report":
        from inception_finetune.pipeline import near_duplicates  # imports TensorFlow

        copies = near_duplicates.copies_of_test(config, whole, manifest, directory, backbone)
        if wanted == "fail":
            near_duplicates.refuse_copies(copies)
        manifest = convert_dataset(config, records, copies=copies)
    if config.gate.needs_every_class:
        require_tested(records, manifest.label_names)
    if config.export.formats:
        config.export.require_test_pictures(manifest.counts[features.TEST], str(records))
    fingerprint = module.fingerprint(directory)
    return Inputs(
        records=str(records),
        schema_file=str(_write_schema(root / "schema", len(manifest.label_names))),
        label_names=tuple(manifest.label_names),
        network=backbone.name,
        backbone=str(_link_backbone(root / "backbones", directory, fingerprint)),
        backbone_fingerprint=fingerprint,
        serving=str(serving_directory(config)),
        metadata=str(metadata_file(config)),
        spans=manifest.spans,
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
        with whole_file(target) as temporary:
            temporary.write_text(text, "utf-8")
    return target
