"""A network's weights from an .npz file, in TF-Slim's or in Keras' variable names."""

import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from components.backbone.load import choose_network
from components.backbone.network import Backbone, mismatch
from components.backbone.networks import AUTO, NETWORKS
from components.backbone.weights import Weights
from components.errors import UserError

HEAD_PREFIX: Final = "head/"  # a classifier that was trained on top; the feature vector has none
VALUE_RANGE: Final = (-1.0, 1.0)  # of the pixels, as TF-Slim's


def recognises(path: Path) -> bool:
    """Whether the path is an archive of arrays and of nothing else."""
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def read(path: Path, network: str) -> Weights:
    """The array file's variables by TF-Slim name, float32.

    Its keys are TF-Slim's names, or those of a network that Keras has numbered, as a fresh
    ``tf_keras.applications.InceptionV3(include_top=False)``: ``conv2d/kernel:0``,
    ``batch_normalization_1/beta:0``. Keys below ``head/`` are ignored.

    Args:
        path: of the file.
        network: name of the network that it must be, or ``auto``.

    Raises:
        UserError: not an array file, or keys that are missing, surplus, misshapen or not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files if not key.startswith(HEAD_PREFIX)}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, EOFError) as error:
        raise UserError(f"weights must be an .npz of plain arrays: {path}: {error}") from error
    backbone = _network(arrays, path, network)
    expected = dict(backbone.variables(backbone.native_size))
    slim_names = {name: name for name in expected}
    if not any(key.startswith(backbone.scope) for key in arrays):
        slim_names = keras_names(backbone)
    problems = mismatch(
        {key: array.shape for key, array in arrays.items()},
        {key: expected[name] for key, name in slim_names.items()},
    )
    if problems:
        raise UserError(
            f"weights must be those of {backbone.title} without its classifier: {path}: "
            f"{problems}; save them under TF-Slim's names, or those of a fresh Keras network"
        )
    for key, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise UserError(
                f"weights must be finite floating-point numbers: {path}: {key} is {array.dtype} "
                "or holds NaN or infinity; export them again"
            )
    values = {name: arrays[key].astype(np.float32) for key, name in slim_names.items()}
    return Weights(backbone, values, VALUE_RANGE, answer=None)


def _network(arrays: dict[str, np.ndarray], path: Path, wanted: str) -> Backbone:
    if wanted == AUTO:
        for backbone in NETWORKS.values():
            if keras_names(backbone).keys() == arrays.keys():
                return backbone
    return choose_network(wanted, arrays, path)


def keras_names(backbone: Backbone) -> dict[str, str]:
    """Variable names of a fresh Keras network, each with its TF-Slim counterpart.

    Keras numbers layers of a kind as it creates them, which it does in TF-Slim's order.
    """
    layers = {
        "weights": ("conv2d", "kernel"),
        "BatchNorm/beta": ("batch_normalization", "beta"),
        "BatchNorm/moving_mean": ("batch_normalization", "moving_mean"),
        "BatchNorm/moving_variance": ("batch_normalization", "moving_variance"),
    }
    names = {}
    for number, (scope, convolution) in enumerate(backbone.convolutions.items()):
        for suffix in convolution.suffixes:
            layer, name = layers.get(suffix, (suffix, suffix))  # no such layer: it stays missing
            key = f"{layer}{f'_{number}' if number else ''}/{name}:0"
            names[key] = f"{scope}/{suffix}"
    return names
