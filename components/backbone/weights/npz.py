"""Reads a network's weights from an .npz file, in TF-Slim's or in Keras' variable names."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.lib import format as npy

from inception_finetune.components.backbone.foreign import in_one_line
from inception_finetune.components.backbone.load import choose_network
from inception_finetune.components.backbone.network import mismatch
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.backbone.weights import Weights
from inception_finetune.components.backbone.weights.keras_names import Settings, read_weights
from inception_finetune.components.errors import UserError

HEAD_PREFIX: Final = "head/"  # a classifier that was trained on top; the feature vector has none
VALUE_RANGE: Final = (-1.0, 1.0)  # of the pixels, as TF-Slim's
LARGEST_HEADER: Final = 1 << 16  # bytes; NumPy itself reads up to 10,000
HEADER_READERS: Final = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def recognises(path: Path) -> bool:
    """Returns whether the path is an archive of arrays and of nothing else."""
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def read(path: Path, network: str) -> Weights:
    """Reads the array file's variables by TF-Slim name, float32.

    Its keys are TF-Slim's names, or those of a network that Keras has numbered, as
    ``tf_keras.applications.InceptionV3(include_top=False)``: ``conv2d/kernel:0``,
    ``batch_normalization_1/beta:0``. Keys below ``head/`` are ignored.

    Args:
        path: of the file.
        network: name of the network that it must be, or ``auto``.

    Raises:
        UserError: not an array file, or keys that are missing, surplus, misshapen or not finite.
    """
    with in_one_line(f"{path} is not an .npz of plain arrays", "Save the weights again"):
        with zipfile.ZipFile(path) as archive:
            headers = {
                name.removesuffix(".npy"): _header(archive, name)
                for name in archive.namelist()
                if not name.startswith(HEAD_PREFIX)
            }
        with np.load(path, allow_pickle=False) as file:
            return _read(headers, file.__getitem__, path, network)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def _header(archive: zipfile.ZipFile, name: str) -> _Header:
    """Reads what an array says of itself: a small file can unpack to one of any size."""
    with archive.open(name) as member:
        start = io.BytesIO(member.read(LARGEST_HEADER))
    version = npy.read_magic(start)
    if version not in HEADER_READERS:
        raise ValueError(f"{name} is of version {version} of NumPy's format")
    shape, _, dtype = HEADER_READERS[version](start)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python's objects")
    return _Header(shape, dtype)


def _read(
    headers: dict[str, _Header], load: Callable[[str], np.ndarray], path: Path, network: str
) -> Weights:
    """Reads the arrays whose names and shapes are those of the network."""
    shapes = {key: header.shape for key, header in headers.items()}

    def get(key: str) -> np.ndarray:
        dtype = headers[key].dtype
        # Another one may be of any size: it is refused by its dtype.
        return load(key) if dtype.kind == "f" else np.empty(0, dtype)

    if not any(one.scope in key for one in NETWORKS.values() for key in headers):
        return read_weights(shapes, get, path, network, Settings({}, VALUE_RANGE))
    backbone = choose_network(network, headers, path)
    expected = dict(backbone.variables(backbone.native_size))
    if problems := mismatch(shapes, expected):
        raise UserError(
            f"Weights in {path} do not fit {backbone.title} without its classifier: "
            f"{problems}. Save them under TF-Slim's names, or those of a Keras network."
        )
    values = {}
    for key in expected:
        array = get(key)
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise UserError(
                f"Weights in {path} are not finite floating-point numbers: {key} is {array.dtype} "
                "or holds NaN or infinity. Export them again."
            )
        values[key] = array.astype(np.float32)
    return Weights(backbone, values, VALUE_RANGE, answer=None)
