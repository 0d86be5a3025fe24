"""Reads a network's weights from Keras' own files: HDF5, ``.keras`` and SavedModel.

No layer is made from a file's configuration: it is read as JSON, for names and settings.
"""

import json
import math
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from inception_finetune.components.backbone.foreign import (
    LARGEST_TEXT,
    in_one_line,
    read_text,
)
from inception_finetune.components.backbone.load import COUNTERS, checkpoint_keys
from inception_finetune.components.backbone.module import GRAPH_FILE
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.backbone.weights import Weights
from inception_finetune.components.backbone.weights.keras_names import (
    NUMBERED,
    VALUE_RANGE,
    Settings,
    read_settings,
    read_weights,
)
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.tar import MAX_UNPACKED_BYTES

if TYPE_CHECKING:
    import h5py

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.weights.h5"
MODEL_WEIGHTS: Final = "model_weights/"  # of a whole model in HDF5, beside those of its optimizer
LARGEST_CHUNK: Final = 1 << 24  # bytes; HDF5 makes them of 1 MiB at most by itself
METADATA: Final = "keras_metadata.pb"  # of a SavedModel
# Where Keras' newer form keeps the variables of a layer.
OBJECT: Final = re.compile(r"((?:layers|_layer_checkpoint_dependencies)/.+)/vars/(\d+)")
RANDOM_STATE: Final = "seed_generator"  # of a layer such as Dropout
OF_TRAINING: Final = ("optimizer/", "keras_api/")  # in a SavedModel's checkpoint
VARIABLES: Final = {  # in their order, by kind of layer
    "conv2d": ("kernel", "bias"),
    "separable_conv2d": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "dense": ("kernel", "bias"),
}
# Applications in Keras, by network: their order of layers where a file does not name them.
APPLICATIONS: Final = {
    "inception_v3": "InceptionV3",
    "inception_resnet_v2": "InceptionResNetV2",
}


def recognises(path: Path) -> bool:
    """Returns whether the path is HDF5, a ``.keras``, or a SavedModel with Keras' names."""
    if path.is_dir():
        return (path / GRAPH_FILE).is_file() and _has_keras_names(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return {CONFIG, WEIGHTS} <= set(archive.namelist())
        with path.open("rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _has_keras_names(directory: Path) -> bool:
    try:
        _, keys = checkpoint_keys(directory)
    except UserError:
        return False
    names = [name.split("/") for name, _ in keys]
    scopes = {one.scope.rstrip("/") for one in NETWORKS.values()}
    return any(
        parts[-1] == "kernel" and NUMBERED.fullmatch(parts[-2])
        for parts in names
        if len(parts) > 1 and not scopes & set(parts)
    )


def read(path: Path, network: str) -> Weights:
    """Reads the variables of InceptionV3 or Inception-ResNet-v2, without its top.

    Args:
        path: as `recognises` accepts it.
        network: name of the network that it must be, or ``auto``.

    Raises:
        UserError: a file that cannot be read, another network, or variables that are missing,
            surplus, misshapen, present twice or not finite.
    """
    with in_one_line(f"Keras file {path} cannot be read", "Save it again"):
        if path.is_dir():
            return _read_saved_model(path, network)
        with _open_hdf5(path) as (file, config):
            return _read_hdf5(file, config, path, network)


def _read_saved_model(directory: Path, network: str) -> Weights:
    reader, entries = checkpoint_keys(directory)
    keys = {
        name: key
        for name, key in entries
        if name not in COUNTERS and not key.startswith(OF_TRAINING)
    }
    sizes = reader.get_variable_to_shape_map()
    shapes = {name: tuple(sizes[key]) for name, key in keys.items()}
    return read_weights(
        shapes,
        lambda name: reader.get_tensor(keys[name]),
        directory,
        network,
        _saved_settings(directory),
    )


def _saved_settings(directory: Path) -> Settings:
    """Reads the settings of a SavedModel's layers; only Keras 2 writes them down."""
    from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata

    file = directory / METADATA
    if not file.is_file():
        return Settings({}, None)
    nodes = SavedMetadata.FromString(read_text(file)).nodes
    config = [json.loads(node.metadata) for node in nodes if node.node_path == "root"]
    return read_settings(config, VALUE_RANGE)


@contextmanager
def _open_hdf5(path: Path) -> "Iterator[tuple[h5py.File, Any]]":
    """Yields the HDF5 file with the weights, and the model's configuration if there is one."""
    import h5py

    if not zipfile.is_zipfile(path):
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
            yield file, None if config is None else json.loads(config)
        return
    with zipfile.ZipFile(path) as archive:
        if sum(archive.getinfo(name).file_size for name in (CONFIG, WEIGHTS)) > MAX_UNPACKED_BYTES:
            raise UserError(
                f"{path} is refused: it unpacks to over {MAX_UNPACKED_BYTES} bytes. Save the "
                "weights alone."
            )
        if archive.getinfo(CONFIG).file_size > LARGEST_TEXT:
            raise ValueError(f"its {CONFIG} has over {LARGEST_TEXT:,} bytes")
        config = json.loads(archive.read(CONFIG))
        with tempfile.TemporaryFile() as unpacked:  # it may be larger than the memory
            with archive.open(WEIGHTS) as packed:
                shutil.copyfileobj(packed, unpacked)
            with h5py.File(unpacked, "r") as file:
                yield file, config


def _read_hdf5(file: "h5py.File", config: Any, path: Path, network: str) -> Weights:
    datasets = _datasets(file, path)
    if any(OBJECT.fullmatch(name) for name in datasets):
        datasets = _by_layer_and_variable(file, datasets, config)
    elif any(name.startswith(MODEL_WEIGHTS) for name in datasets):
        datasets = {n: dataset for n, dataset in datasets.items() if n.startswith(MODEL_WEIGHTS)}
    return read_weights(
        {name: dataset.shape for name, dataset in datasets.items() if RANDOM_STATE not in name},
        lambda name: _array(datasets[name]),
        path,
        network,
        read_settings(config, VALUE_RANGE),
    )


def _array(dataset: "h5py.Dataset") -> np.ndarray:
    """Reads an array; one of another type than numbers is refused by its dtype alone."""
    if dataset.dtype.kind != "f":
        return np.empty(0, dataset.dtype)
    # A chunk is unpacked whole, and may be of another size than the array.
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if chunk > max(dataset.nbytes, LARGEST_CHUNK):
        raise ValueError(f"{dataset.name} has chunks of {chunk:,} bytes, more than the array")
    return np.asarray(dataset[()])


def _datasets(file: "h5py.File", path: Path) -> "dict[str, h5py.Dataset]":
    """Returns all arrays of the file itself by path; HDF5 can refer to other files."""
    import h5py

    datasets = {}

    def collect(name: str, one: "h5py.Group | h5py.Dataset") -> None:
        if isinstance(one, h5py.Dataset):
            if one.external or one.is_virtual:
                raise UserError(
                    f"Weights in {path} are spread over several files: {name} refers to "
                    "another. Save them in one file."
                )
            datasets[name] = one

    file.visititems(collect)  # does not follow links
    return datasets


def _by_layer_and_variable(
    file: "h5py.File", datasets: "Mapping[str, h5py.Dataset]", config: Any
) -> "dict[str, h5py.Dataset]":
    """Renames the arrays of Keras' newer form by layer and variable.

    Their path tells the layer's kind and its number in the model's order, which is not the order of
    creation. The name is an attribute (Keras 3) or in the configuration.
    """
    matches = {name: match for name in datasets if (match := OBJECT.fullmatch(name))}
    if config is None and not all("name" in file[f"{m[1]}/vars"].attrs for m in matches.values()):
        config = _application_config(len({m[1] for m in matches.values() if _kind(m) == "conv2d"}))
    settings = dict(_layer_settings(config["config"])) if config else {}
    lengths = Counter(match[1] for match in matches.values())
    named = {}
    for name, match in matches.items():
        place = re.sub("^_layer_checkpoint_dependencies/", "layers/", match[1])
        layer_settings = settings.get(place, {})
        layer = layer_settings.get("name", file[f"{match[1]}/vars"].attrs.get("name", place))
        variables = VARIABLES.get(_kind(match), ())
        if _kind(match) == "batch_normalization":
            has = {"gamma": layer_settings.get("scale", lengths[match[1]] == len(variables))}
            has["beta"] = layer_settings.get("center", True)
            variables = tuple(one for one in variables if has.get(one, True))
        index = int(match[2])
        variable = variables[index] if index < len(variables) else match[2]
        named[f"{place}/{layer}/{variable}"] = datasets[name]
    return named


def _kind(match: re.Match[str]) -> str:
    """Returns a layer's kind from its path, such as ``layers/functional/layers/conv2d_5``."""
    return re.sub(r"_\d+$", "", match[1].rpartition("/")[2])


def _layer_settings(
    config: Mapping[str, Any], prefix: str = "layers"
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Iterates over path and settings of each layer.

    Keras numbers the layers of a kind in the model's order.
    """
    counts: Counter[str] = Counter()
    for layer in config["layers"]:
        kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", layer["class_name"])
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()
        place = f"{prefix}/{kind}_{counts[kind]}" if counts[kind] else f"{prefix}/{kind}"
        counts[kind] += 1
        yield place, layer["config"]
        if "layers" in layer["config"]:
            yield from _layer_settings(layer["config"], f"{place}/layers")


def _application_config(convolutions: int) -> Any:
    """Returns the configuration of Keras' own network with so many convolutions, or None."""
    import tf_keras as keras

    for network, application in APPLICATIONS.items():
        if len(NETWORKS[network].convolutions) == convolutions:
            build = getattr(keras.applications, application)
            return {"config": build(weights=None, include_top=False).get_config()}
    return None
