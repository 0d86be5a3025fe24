"""Makes a module in TF-Hub's format from a file of weights, whatever kind of file it is."""

import glob
import hashlib
import sys
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from inception_finetune.components.backbone import made_module
from inception_finetune.components.backbone.foreign import require_bounded
from inception_finetune.components.backbone.load import (
    TOLERANCE,
    differences,
    load_backbone,
    probe_images,
)
from inception_finetune.components.backbone.module import GRAPH_FILE
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.backbone.networks import AUTO, NETWORKS
from inception_finetune.components.backbone.weights import (
    Weights,
    keras_file,
    npz,
    safetensors_file,
    slim_checkpoint,
    tfjs,
)
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.tar import is_tar, require_whole_tar

COMMAND: Final = "backbone import"
MANIFEST: Final = "import.json"
FORMAT_VERSION: Final = 1
VALUE_RANGE: Final = (-1.0, 1.0)  # of the pixels, where neither the source nor the user says one
# Files beside a source that belong to it, by the source's suffix.
COMPANIONS: Final = {
    slim_checkpoint.INDEX: "{stem}.data-*",
    ".safetensors": "config.json",
}


class Reader(Protocol):
    """A module of this package, which reads one kind of file."""

    def recognises(self, path: Path) -> bool:
        """Returns whether `path` is of this kind, by its content."""

    def read(self, path: Path, network: str) -> Weights:
        """Reads the weights.

        Args:
            path: as `recognises` accepts it.
            network: name of the network that it
                must be, or ``auto``.
        """


# By what they read, to people. The first one that recognises a source reads it.
READERS: Final[dict[str, Reader]] = {
    "a TF-Slim checkpoint": slim_checkpoint,
    "PyTorch's safetensors": safetensors_file,
    "an .npz of arrays": npz,
    "a file of Keras": keras_file,
    "a layers model of TensorFlow.js": tfjs,
}


def is_source(path: Path) -> bool:
    """Returns whether the path is a file or folder of weights, by its content."""
    return any(_recognises(reader, path) for reader in READERS.values())


def _recognises(reader: Reader, path: Path) -> bool:
    try:
        return reader.recognises(path)
    # It looks into files of any kind, and a damaged one may raise anything: it is not recognised.
    except Exception:
        return False


def import_weights(
    source: Path,
    directory: Path,
    *,
    network: str = AUTO,
    value_range: tuple[float, float] | None = None,
) -> Weights:
    """Writes a module that takes images in [0, 1] and gives ``[B, features]`` float32.

    It is loaded and checked before it is put in its place: Keras' network against the module, and
    both against the source itself where that can answer. A directory that already holds the same
    module is left as it is.

    Args:
        source: a file or folder that one of `READERS` recognises.
        directory: the module's place: not there, or empty.
        network: name of the network that it must be, or ``auto``.
        value_range: of the pixels that the network was trained on; what the source says of it
            where none is given, else [-1, 1]. The first convolution takes the difference.

    Returns:
        What the source holds, its pixels' range as it was taken.

    Raises:
        UserError: nothing that a reader knows, weights that do not fit, a negative variance, a
            range that cannot be taken exactly, an answer that is not the source's, or another
            thing in the place.
    """
    if network not in (AUTO, *NETWORKS):
        raise UserError(
            f"network is {network}, which is not known. Choose one of {', '.join(NETWORKS)}, "
            f"or {AUTO}."
        )
    kind, reader = _find_reader(source)
    require_bounded(_files(source), source)
    weights = reader.read(source, network)
    backbone, pixel_range = weights.backbone, value_range or weights.value_range
    if pixel_range is None:
        pixel_range = VALUE_RANGE
        print(
            f"{source}: does not say the range of its pixels; [-1, 1] is taken, as TF-Slim's",
            file=sys.stderr,
            flush=True,
        )
    for name, value in weights.values.items():
        if name.endswith("/moving_variance") and (value < 0).any():
            raise UserError(
                f"Weights in {source} have a negative variance: {name} is {value.min():g} "
                "somewhere. The file is damaged, or its arrays are under wrong names: export it "
                "again."
            )
    values = fold_value_range(backbone, weights.values, pixel_range, source)
    digest = source_digest(source)
    origin = made_module.Origin(
        COMMAND,
        MANIFEST,
        {
            "format": FORMAT_VERSION,
            "source_sha256": digest,
            "network": backbone.name,
            "value_range": list(pixel_range),
        },
    )
    if not made_module.is_made(directory, origin):
        made_module.write(
            directory,
            backbone,
            values,
            backbone.native_size,
            origin,
            f"{backbone.title} in TF-Hub's format, by `inception-finetune {COMMAND}`.\n"
            f"Its weights come from {source.name}, {kind},\nsha256 {digest},\n"
            f"trained on pixels in [{pixel_range[0]:g}, {pixel_range[1]:g}]. "
            "This module takes them in [0, 1].\n",
            check=partial(_check, weights, source),
        )
    return weights._replace(value_range=pixel_range)


def import_once(source: Path, cache_dir: Path, network: str) -> Path:
    """Returns the module of a source, made in the cache if it is not there yet.

    Args:
        source: as in `import_weights`.
        cache_dir: keeps one module for each source and network.
        network: as in `import_weights`.

    Raises:
        UserError: as `import_weights`, or the module was changed after it was made.
    """
    digest = source_digest(source)
    directory = cache_dir / f"{digest[:16]}-{network}"
    origin = made_module.Origin(
        COMMAND, MANIFEST, {"format": FORMAT_VERSION, "source_sha256": digest}
    )
    if not made_module.is_made(directory, origin):
        import_weights(source, directory, network=network)
    return directory


def source_digest(source: Path) -> str:
    """Returns the sha256 of a source; of several files, that of their names and digests.

    Args:
        source: as in `import_weights`.

    Raises:
        UserError: it is too large, or does not name its files.
    """
    files = _files(source)
    require_bounded(files, source)
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if files == [source]:
        return digests[0]
    names = [file.relative_to(source if source.is_dir() else source.parent) for file in files]
    lines = [f"{n.as_posix()}\0{d}\n" for n, d in zip(names, digests, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(source: Path) -> list[Path]:
    """Lists all files of a source."""
    if source.is_dir():
        return sorted(path for path in source.rglob("*") if path.is_file())
    if not source.is_file():  # a checkpoint's prefix
        source = source.with_name(source.name + slim_checkpoint.INDEX)
    if tfjs.recognises(source) and source.suffix == ".json":
        return [source, *tfjs.shards(source)]
    if pattern := COMPANIONS.get(source.suffix):
        pattern = pattern.format(stem=glob.escape(source.stem))
        return [source, *sorted(source.parent.glob(pattern))]
    return [source]


def _find_reader(source: Path) -> tuple[str, Reader]:
    for kind, reader in READERS.items():
        if _recognises(reader, source):
            return kind, reader
    if source.is_file() and is_tar(source):
        require_whole_tar(source)  # one that is damaged is not recognised
    if (source / GRAPH_FILE).is_file():
        raise UserError(
            f"{source} is a SavedModel, so there is nothing to import. Give it as "
            "backbone.handle as it is."
        )
    problem = "is none of them" if source.exists() else "is not there"
    raise UserError(
        f"{source} {problem}: weights are read from {', '.join(READERS)}. Give one of these."
    )


def fold_value_range(
    backbone: Backbone,
    values: dict[str, np.ndarray],
    value_range: tuple[float, float],
    source: Path,
) -> dict[str, np.ndarray]:
    """Variables that make of pixels in [-1, 1] what the given ones make of the same pictures.

    A pixel x in [low, high] is ``scale * z + shift`` of z in [-1, 1]. The first kernel takes the
    scale; the shift adds the same to each of a filter's outputs, which batch normalisation's mean
    or the bias takes. Where a convolution pads, its zeros are not shifted: there is no such sum.

    Args:
        backbone: the network.
        values: all its variables by TF-Slim name, float32.
        value_range: low and high, of the pixels that `values` were trained on.
        source: where the values come from, for messages.

    Raises:
        UserError: low is not below high, or the first convolution cannot take the shift.
    """
    low, high = value_range
    if not -np.inf < low < high < np.inf:
        raise UserError(
            f"Value range {low}..{high} does not go from a number up to another. Correct it."
        )
    if value_range == VALUE_RANGE:
        return values
    scale, shift = (high - low) / 2, (high + low) / 2
    scope, first = next(iter(backbone.convolutions.items()))
    kernel_name = f"{scope}/{first.suffixes[0]}"
    kernel = values[kernel_name].astype(np.float64)
    folded = {**values, kernel_name: (kernel * scale).astype(np.float32)}
    if not shift:
        return folded
    if first.padding != "VALID" or first.depth_multiplier:
        raise UserError(
            f"Pixels in [{low:g}, {high:g}], as {source} takes them, do not fit "
            f"{backbone.title} exactly: its first convolution pads with 0, which must be the "
            "middle of their range. Take weights that were trained on [-1, 1]."
        )
    sums = shift * kernel.sum(axis=(0, 1, 2))
    name, sign = (
        (f"{scope}/biases", 1) if first.has_bias else (f"{scope}/BatchNorm/moving_mean", -1)
    )
    folded[name] = (values[name] + sign * sums).astype(np.float32)
    return folded


def _check(weights: Weights, source: Path, directory: Path) -> None:
    """Compares the module with the source's own answers, if it can give any."""
    backbone = weights.backbone
    try:
        loaded = load_backbone(directory, image_size=backbone.native_size, network=backbone.name)
    except UserError as error:  # the directory is a temporary one
        raise UserError(str(error).replace(str(directory), f"that of {source}")) from error
    if weights.answer is None:
        return
    images = probe_images(backbone.native_size)
    answer = loaded.network(images * 2 - 1, training=False).numpy()
    relative, absolute = differences(answer, weights.answer(images))
    if not relative <= TOLERANCE:
        raise UserError(
            f"Imported {backbone.title} differs from its source {source} by {relative:.2g} "
            f"(absolute {absolute:.2g}), more than a relative {TOLERANCE:g}: its pixels have "
            "another range, or its layers are not that network's. Give --value-range, or "
            "other weights."
        )
