"""Converts weights from the names that Keras gives its layers to TF-Slim's.

Keras numbers layers of a kind as it creates them, in TF-Slim's order, from any first number:
``conv2d_95/kernel``. Inception-ResNet-v2's projections and last convolution have names of their
own: ``block35_1_conv``, ``conv_7b``.
"""

import itertools
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from inception_finetune.components.backbone.blocks import Convolution
from inception_finetune.components.backbone.load import choose_network
from inception_finetune.components.backbone.network import BATCH_NORM_EPSILON, Backbone, mismatch
from inception_finetune.components.backbone.networks import AUTO, NETWORKS
from inception_finetune.components.backbone.weights import Weights
from inception_finetune.components.backbone.weights.batch_norm import fold_scale
from inception_finetune.components.errors import UserError

VALUE_RANGE: Final = (-1.0, 1.0)  # of the pixels, by Keras' preprocess_input of these networks
BATCH_NORM: Final = "batch_normalization"
NUMBERED: Final = re.compile(rf"(conv2d|separable_conv2d|{BATCH_NORM})(?:_(\d+))?")
PROJECTION: Final = re.compile(r"/(block\d+)(?:_\d+)?/Conv2d_1x1$", re.IGNORECASE)
LAST: Final = "InceptionResnetV2/Conv2d_7b_1x1"
SUFFIXES: Final = {  # Keras', by TF-Slim's
    "weights": "kernel",
    "biases": "bias",
    "depthwise_weights": "depthwise_kernel",
    "pointwise_weights": "pointwise_kernel",
}
SCALE: Final = "gamma"


# Layers that can change pixels in ways that their settings do not tell.
UNCLEAR: Final = re.compile(r"\w*Lambda|Normalization|TrueDivide|Divide|Multiply|Subtract")


class Settings(NamedTuple):
    """The settings of a model that change the meaning of its weights."""

    epsilons: dict[str, float]  # of batch normalisation, by layer
    value_range: tuple[float, float] | None  # of the pixels that reach the first convolution


def read_settings(config: Any, value_range: tuple[float, float] | None) -> Settings:
    """Reads the settings of all layers in a configuration; no layer is made from it.

    Args:
        config: of a model, as JSON; None if unknown.
        value_range: of the pixels if no layer changes them. Rescaling layers turn pixels in [0,
            255] into another range; after other layers that can change them it is unknown.
    """
    epsilons, rescaled = {}, None
    for kind, settings in _layers(config):
        if kind.startswith("BatchNormalization"):  # an old one is called V1 or V2
            epsilons[str(settings["name"])] = float(settings["epsilon"])
        elif kind == "Rescaling":
            scale, offset = float(settings["scale"]), float(settings["offset"])
            low, high = rescaled or (0.0, 255.0)
            rescaled = low * scale + offset, high * scale + offset
        elif UNCLEAR.fullmatch(kind):
            value_range = None
    return Settings(epsilons, rescaled or value_range)


def _layers(config: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Class and settings of each layer, those of models within a model too."""
    if isinstance(config, list):
        for one in config:
            yield from _layers(one)
    elif isinstance(config, dict):
        if isinstance(config.get("class_name"), str) and isinstance(config.get("config"), dict):
            yield config["class_name"], config["config"]
        for one in config.values():
            yield from _layers(one)


def read_weights(
    shapes: Mapping[str, tuple[int, ...]],
    get: Callable[[str], np.ndarray],
    path: Path,
    network: str,
    settings: Settings,
) -> Weights:
    """Reads the network's variables, whatever the first number and the prefix of their layers.

    Dense layers are a classifier: they are left out, with a message on stderr. A scale of batch
    normalisation, and another epsilon than TF-Slim's, are folded into the kernel.

    Args:
        shapes: of all variables by key: ``conv2d_95/kernel``, with any prefix and ``:0`` or not.
        get: returns a variable's values by its key; is called for those of the network alone.
        path: where they come from, for messages.
        network: name of the network that it must be, or ``auto``.
        settings: of the layers, as far as they are known.

    Raises:
        UserError: another network, or variables that are missing, surplus, misshapen, present twice
            or not finite.
    """
    keys: dict[str, str] = {}
    for key in shapes:
        name = "/".join(key.removesuffix(":0").split("/")[-2:])
        if name in keys:
            raise UserError(
                f"{path} holds {name} twice, as {keys[name]} and {key}: it holds more than one "
                "network. Save one network alone."
            )
        keys[name] = key
    shapes_by_name = {name: tuple(shapes[key]) for name, key in keys.items()}
    dense = {_layer(n): shape[1] for n, shape in shapes_by_name.items() if _is_dense(n, shape)}
    shapes_by_name = {
        name: shape for name, shape in shapes_by_name.items() if _layer(name) not in dense
    }
    backbone, names = _choose(shapes_by_name, path, network)
    scales = {
        f"{_layer(name)}/{SCALE}" for name in names if name.endswith("/beta")
    } & shapes_by_name.keys()
    problems = mismatch(
        {name: shape for name, shape in shapes_by_name.items() if name not in scales},
        {name: shape for name, (_, shape) in names.items()},
    )
    if problems:
        raise UserError(
            f"Weights in {path} do not fit {backbone.title} without its classifier: "
            f"{problems}. Take those of Keras' own network."
        )
    values = {slim: _array(get(keys[n]), keys[n], shape) for n, (slim, shape) in names.items()}
    for name, (slim, _) in names.items():
        layer = _layer(name)
        epsilon = settings.epsilons.get(layer, BATCH_NORM_EPSILON)
        scale = f"{layer}/{SCALE}"
        if name.endswith("/beta") and (scale in scales or epsilon != BATCH_NORM_EPSILON):
            gamma = np.ones(shapes[keys[name]], np.float32)
            if scale in scales:
                gamma = _array(get(keys[scale]), keys[scale], gamma.shape)
            _fold(backbone, values, slim.removesuffix("/BatchNorm/beta"), gamma, epsilon)
    bad = [name for name, (slim, _) in names.items() if not np.isfinite(values[slim]).all()]
    if bad:
        raise UserError(
            f"Weights in {path} are not finite floating-point numbers: {keys[bad[0]]} is "
            f"{get(keys[bad[0]]).dtype} or holds NaN or infinity. Export them again."
        )
    if dense:
        outputs = ", ".join(f"{layer} of {width:,} outputs" for layer, width in dense.items())
        print(f"{path}: left out: its classifier: {outputs}", file=sys.stderr, flush=True)
    return Weights(backbone, values, settings.value_range, answer=None)


def _layer(name: str) -> str:
    return name.rpartition("/")[0]


def _is_dense(name: str, shape: tuple[int, ...]) -> bool:
    return name.endswith("/kernel") and len(shape) == 2


def _array(array: np.ndarray, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Converts to float32; returns NaN if `array` has another shape or is not floating-point."""
    if array.dtype.kind != "f" or array.shape != shape:
        return np.full(shape, np.nan, np.float32)
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _fold(
    backbone: Backbone,
    values: dict[str, np.ndarray],
    scope: str,
    gamma: np.ndarray,
    epsilon: float,
) -> None:
    kernel = backbone.convolutions[scope].suffixes[-4]  # before the three of batch normalisation
    parts = (kernel, "BatchNorm/beta", "BatchNorm/moving_mean", "BatchNorm/moving_variance")
    names = [f"{scope}/{part}" for part in parts]
    weights, beta, mean, variance = (values[name] for name in names)
    folded = fold_scale(weights, gamma, beta, mean, variance, epsilon)
    values.update(zip(names, folded, strict=True))


Names = dict[str, tuple[str, tuple[int, ...]]]  # TF-Slim's name and shape, by Keras' name


def _choose(
    shapes: Mapping[str, tuple[int, ...]], path: Path, network: str
) -> tuple[Backbone, Names]:
    """The network that most variables fit, and their names, numbered as in the file."""
    best = {one.name: _best_names(one, shapes) for one in NETWORKS.values()}

    def fit(name: str) -> float:
        return _fit(best[name], shapes) / len(best[name])

    fitting = max(best, key=fit)
    if fit(fitting) < 1 / 2:
        fitting = choose_network(network, shapes, path).name  # or none that is known
    if network not in (AUTO, fitting):
        if fit(fitting) == 1:
            raise UserError(
                f"Another network in {path}: it holds {NETWORKS[fitting].title}, and "
                f"backbone.network is {network}. Give weights of that network, or "
                f"backbone.network={fitting}."
            )
        fitting = network
    return NETWORKS[fitting], best[fitting]


def _fit(names: Names, shapes_in_file: Mapping[str, tuple[int, ...]]) -> int:
    return sum(shapes_in_file.get(name) == shape for name, (_, shape) in names.items())


def _best_names(backbone: Backbone, shapes: Mapping[str, tuple[int, ...]]) -> Names:
    """Numbers the layers from the first or up to the last number in the file, as it fits better."""
    numbers: dict[str, set[int]] = {}
    for name in shapes:
        if match := NUMBERED.fullmatch(_layer(name)):
            numbers.setdefault(match[1], set()).add(int(match[2] or 0))
    counts = Counter(
        match[1]
        for layer in {_layer(name) for name in _names(backbone, {})}
        if (match := NUMBERED.fullmatch(layer))
    )
    starts = {
        kind: sorted({min(present), max(max(present) - counts[kind] + 1, 0)})
        for kind, present in numbers.items()
    }
    candidates = [
        _names(backbone, dict(zip(starts, first_numbers, strict=True)))
        for first_numbers in itertools.product(*starts.values())
    ]
    return max(candidates, key=lambda names: _fit(names, shapes))


def _names(backbone: Backbone, starts: Mapping[str, int]) -> Names:
    """Keras' names of a network whose layers of a kind are numbered from `starts`."""
    numbers = Counter(starts)
    shapes = dict(backbone.variables(backbone.native_size))
    names = {}
    for scope, convolution in backbone.convolutions.items():
        layer, batch_norm = _layer_names(scope, convolution, numbers)
        for suffix in convolution.suffixes:
            _, is_statistic, statistic = suffix.rpartition("BatchNorm/")
            keras_name = (
                f"{batch_norm}/{statistic}" if is_statistic else f"{layer}/{SUFFIXES[suffix]}"
            )
            slim = f"{scope}/{suffix}"
            names[keras_name] = (slim, shapes[slim])
    return names


def _layer_names(scope: str, convolution: Convolution, numbers: Counter[str]) -> tuple[str, str]:
    """Returns the names of a convolution and its batch normalisation; counts those with numbers."""

    def numbered(kind: str) -> str:
        number = numbers[kind]
        numbers[kind] += 1
        return f"{kind}_{number}" if number else kind

    if scope == LAST:
        return "conv_7b", "conv_7b_bn"
    if match := PROJECTION.search(scope):
        block = match[1].lower()
        numbers[block] += 1
        return f"{block}_{numbers[block]}_conv", ""
    layer = numbered("separable_conv2d" if convolution.depth_multiplier else "conv2d")
    return layer, "" if convolution.has_bias else numbered(BATCH_NORM)
