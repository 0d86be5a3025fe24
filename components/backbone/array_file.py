"""InceptionV3's weights from an .npz file in Keras' variable names."""

import zipfile
from pathlib import Path

import numpy as np

from components.backbone.network import Variable, convolutions, mismatch, variables_of
from components.errors import UserError

HEAD_PREFIX = "head/"  # a classifier that was trained on top; the feature vector has none


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The array file's variables by TF-Slim name, float32.

    Raises:
        UserError: not an array file, or keys that are missing, surplus, misshapen or not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files if not key.startswith(HEAD_PREFIX)}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, EOFError) as error:
        raise UserError(f"weights must be an .npz of plain arrays: {path}: {error}") from error
    expected = _keras_names()
    problems = mismatch(
        {key: array.shape for key, array in arrays.items()},
        {key: variable.shape for key, variable in expected.items()},
    )
    if problems:
        raise UserError(
            f"weights must have the variables of tf_keras.applications.InceptionV3(include_top="
            f"False): {path}: {problems}; save them under the names of a fresh model"
        )
    for key, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise UserError(
                f"weights must be finite floating-point numbers: {path}: {key} is {array.dtype} "
                "or holds NaN or infinity; export them again"
            )
    return {variable.name: arrays[key].astype(np.float32) for key, variable in expected.items()}


def _keras_names() -> dict[str, Variable]:
    """Variable names of a fresh Keras network, each with its TF-Slim counterpart."""
    return {
        f"{layer}{f'_{number}' if number else ''}/{name}:0": variable
        for number, (scope, kernel) in enumerate(convolutions().items())
        for (layer, name), variable in zip(
            (
                ("conv2d", "kernel"),
                ("batch_normalization", "beta"),
                ("batch_normalization", "moving_mean"),
                ("batch_normalization", "moving_variance"),
            ),
            variables_of(scope, kernel),
            strict=True,
        )
    }
