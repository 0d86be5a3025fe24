"""Reads a network's weights from an .npz file, in TF-Slim's or in Keras' variable names."""

import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from inception_finetune.components.backbone.load import choose_network
from inception_finetune.components.backbone.network import mismatch
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.backbone.weights import Weights
from inception_finetune.components.backbone.weights.keras_names import Settings, read_weights
from inception_finetune.components.errors import UserError

HEAD_PREFIX: Final = "head/"  # a classifier that was trained on top; the feature vector has none
VALUE_RANGE: Final = (-1.0, 1.0)  # of the pixels, as TF-Slim's


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
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files if not key.startswith(HEAD_PREFIX)}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, EOFError) as error:
        raise UserError(
            f"{path} is not an .npz of plain arrays: {error}. Save the weights again."
        ) from error
    shapes = {key: array.shape for key, array in arrays.items()}
    if not any(one.scope in key for one in NETWORKS.values() for key in arrays):
        settings = Settings({}, VALUE_RANGE)
        return read_weights(shapes, arrays.__getitem__, path, network, settings)
    backbone = choose_network(network, arrays, path)
    expected = dict(backbone.variables(backbone.native_size))
    if problems := mismatch(shapes, expected):
        raise UserError(
            f"Weights in {path} do not fit {backbone.title} without its classifier: "
            f"{problems}. Save them under TF-Slim's names, or those of a Keras network."
        )
    for key, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise UserError(
                f"Weights in {path} are not finite floating-point numbers: {key} is {array.dtype} "
                "or holds NaN or infinity. Export them again."
            )
    values = {name: arrays[name].astype(np.float32) for name in expected}
    return Weights(backbone, values, VALUE_RANGE, answer=None)
