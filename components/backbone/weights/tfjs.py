"""Reads a network's weights from a layers model of TensorFlow.js: ``model.json`` and its shards.

https://github.com/tensorflow/tfjs/blob/master/tfjs-core/src/io/types.ts (WeightsManifestConfig)
"""

import math
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import numpy as np

from inception_finetune.components.backbone.foreign import in_one_line, read_json
from inception_finetune.components.backbone.weights import Weights
from inception_finetune.components.backbone.weights.keras_names import read_settings, read_weights
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.components.io.tar import MAX_UNPACKED_BYTES, extract_tar, is_tar, tar_files

MODEL_FILE: Final = "model.json"
MANIFEST: Final = "weightsManifest"
LAYERS_MODEL: Final = "layers-model"  # the other one, graph-model, has no layers any more
REMEDY: Final = "Fetch it again, with all of its shards"
TYPES: Final = {  # little-endian, as they lie in the shards
    "float32": "<f4",
    "float16": "<f2",
    "int32": "<i4",
    "uint16": "<u2",
    "uint8": "u1",
    "bool": "u1",
}


def recognises(path: Path) -> bool:
    """Returns whether the path is a model's ``model.json``, or a folder or an archive with one."""
    try:
        if path.is_dir():
            return recognises(path / MODEL_FILE)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return any(PurePosixPath(name).name == MODEL_FILE for name in archive.namelist())
        if is_tar(path):
            with tar_files(path) as files:
                return any(name.name == MODEL_FILE for name, _ in files)
        with path.open("rb") as file:
            if file.read(1) != b"{":
                return False
        return MANIFEST in read_json(path)
    except (OSError, ValueError, RecursionError, zipfile.BadZipFile, UserError):
        return False


def read(path: Path, network: str) -> Weights:
    """Reads the model's variables by TF-Slim name, float32; quantised ones are ``q * scale + min``.

    Args:
        path: as `recognises` accepts it.
        network: name of the network that it must be, or ``auto``.

    Raises:
        UserError: a model that cannot be read, another network, or variables that are missing,
            surplus, misshapen, present twice or not finite.
    """
    fact = f"TensorFlow.js model {path} cannot be read"
    with in_one_line(fact, REMEDY), unpacked(path) as file:
        model = read_json(file)
        if model.get("format", LAYERS_MODEL) != LAYERS_MODEL:
            raise UserError(
                f"TensorFlow.js model {path} is a {model['format']}, not a "
                f"{LAYERS_MODEL}. Convert it with --output_format=tfjs_layers_model."
            )
        stored = stored_weights(model, file, path)
        return read_weights(
            {name: weight.shape for name, weight in stored.items()},
            lambda name: stored[name].load(),
            path,
            network,
            read_settings(model.get("modelTopology"), value_range=None),
        )


def stored_weights(model: dict[str, Any], file: Path, path: Path) -> dict[str, "StoredWeight"]:
    """Finds the weights of a model, of layers or a graph, by their names.

    Args:
        model: the content of its ``model.json``.
        file: that file, beside its shards.
        path: what was given, for messages.

    Raises:
        UserError: a shard lies outside of the folder or is incomplete, or a weight is no number.
    """
    return {
        weight.name: weight
        for group in model[MANIFEST]
        for weight in _stored(group["weights"], _shards(file, group, path), path)
    }


def shards(model_file: Path) -> list[Path]:
    """Lists all shards of a model, in their order.

    Raises:
        UserError: one of them lies outside of the folder of `model_file`, or that names none.
    """
    with in_one_line(f"TensorFlow.js model {model_file} cannot be read", REMEDY):
        groups = read_json(model_file)[MANIFEST]
        return [shard for group in groups for shard in _shards(model_file, group, model_file)]


def _shards(model_file: Path, group: dict[str, Any], path: Path) -> list[Path]:
    shards = []
    for name in group["paths"]:
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts or "\\" in name:
            raise UserError(
                f"{path} is refused: its shard {name!r} leads outside the folder of {MODEL_FILE}. "
                "Take a model from a source that you trust."
            )
        shards.append(model_file.parent / relative)
    return shards


class StoredWeight(NamedTuple):
    """The position of a weight in the concatenated shards of its group."""

    name: str
    shape: tuple[int, ...]
    files: list[Path]  # of the whole group
    start: int  # byte
    stored: np.dtype[Any]
    quantization: dict[str, Any]

    def load(self) -> np.ndarray:
        """Reads it; float32 where it is quantised."""
        size = math.prod(self.shape) * self.stored.itemsize
        array = np.frombuffer(_read_bytes(self.files, self.start, size), self.stored)
        array = array.reshape(self.shape)
        if "scale" not in self.quantization:
            return array
        scale, least = float(self.quantization["scale"]), float(self.quantization["min"])
        return (array * scale + least).astype(np.float32)  # in double precision, as JavaScript


def _read_bytes(files: list[Path], start: int, size: int) -> bytes:
    """Reads a range of the concatenated files, which may be larger than the memory."""
    content = b""
    for file in files:
        length = file.stat().st_size
        if start < length and len(content) < size:
            with file.open("rb") as stream:
                stream.seek(start)
                content += stream.read(size - len(content))
        start = max(start - length, 0)
    return content


def _stored(specs: list[dict[str, Any]], files: list[Path], path: Path) -> list[StoredWeight]:
    size = sum(file.stat().st_size for file in files)
    found, start = [], 0
    for spec in specs:
        quantization = spec.get("quantization") or {}
        kind = quantization.get("dtype", spec["dtype"])
        if kind not in TYPES:
            raise UserError(
                f"TensorFlow.js model {path} holds something else than numbers: {spec['name']} is "
                f"{kind}. Convert it again."
            )
        stored, shape = np.dtype(TYPES[kind]), tuple(int(length) for length in spec["shape"])
        if any(length < 0 for length in shape):
            raise ValueError(f"{spec['name']} has the shape {list(shape)}")
        found.append(StoredWeight(spec["name"], shape, files, start, stored, quantization))
        start += math.prod(shape) * stored.itemsize
    if start != size:
        names = ", ".join(file.name for file in files[:3]) + (", …" if len(files) > 3 else "")
        raise UserError(
            f"TensorFlow.js model {path} is incomplete: its manifest has {start:,} bytes in "
            f"{names}, which hold {size:,}. Fetch it again, with all of its shards."
        )
    return found


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yields the ``model.json`` of a folder, or of an archive that is unpacked meanwhile.

    Raises:
        UserError: an archive leads outside itself, is too large, or holds none or several.
    """
    if path.is_dir():
        yield path / MODEL_FILE
        return
    is_zip = zipfile.is_zipfile(path)
    if not is_zip and not is_tar(path):
        yield path
        return
    with scratch_folder("weights-") as scratch:
        folder = scratch / "model"
        (_extract_zip if is_zip else extract_tar)(path, folder)
        root = sorted(folder.rglob(MODEL_FILE))
        if len(root) != 1:
            raise UserError(
                f"{path} holds {len(root)} TensorFlow.js models, not one. Give the folder of the "
                "one to take."
            )
        yield root[0]


def _extract_zip(archive: Path, folder: Path) -> None:
    """Unpacks a zip of unknown origin; a link in it becomes a plain file."""
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise UserError(
                    f"{archive} is refused: {name!r} leads outside the archive. Take an "
                    "archive from a source that you trust."
                )
        if sum(member.file_size for member in file.infolist()) > MAX_UNPACKED_BYTES:
            raise UserError(
                f"{archive} is refused: it unpacks to over {MAX_UNPACKED_BYTES} bytes. Unpack it "
                "yourself and give the folder."
            )
        for member in file.infolist():
            if not member.is_dir():
                target = folder / member.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(member) as packed, target.open("xb") as copy:
                    shutil.copyfileobj(packed, copy)
