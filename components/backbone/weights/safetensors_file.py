"""Reads weights that PyTorch wrote to a safetensors file, under timm's and torchvision's names.

timm's InceptionV4 and Inception-ResNet-v2 are TF-Slim's networks. Its InceptionV3, and
torchvision's, which is the same, has one difference that weights cannot express: its nine average
poolings count the zeros around a picture in their mean, TF-Slim's do not. So features differ from
PyTorch's, which `read` reports on stderr. Measured with weights that descend from ImageNet's, on
two photographs, as the norm of the difference over the norm: 0.15 and 0.31 at 299 pixels, 0.44 and
0.58 at 139. Weights that timm ported from TF-Slim (``tf_in1k``, ``tf_adv_in1k``) were trained
without those zeros, as they are used here; others may lose accuracy by it.
"""

import math
import sys
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from inception_finetune.components.backbone.foreign import in_one_line, read_json
from inception_finetune.components.backbone.load import choose_network
from inception_finetune.components.backbone.network import Backbone, mismatch
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.backbone.weights import Weights
from inception_finetune.components.backbone.weights.batch_norm import fold_scale
from inception_finetune.components.backbone.weights.pytorch_names import WITH_NAMES, modules
from inception_finetune.components.errors import UserError

FILE: Final = "model.safetensors"  # in a folder as Hugging Face's hub lays it out
CONFIGURATION: Final = "config.json"  # timm's, beside it
LARGEST_HEADER: Final = 100_000_000  # bytes, of the format
PICKLES: Final = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))  # how they begin
EPSILON: Final = 1e-3  # of the batch normalisation of all three networks
BATCH_NORM: Final = ("weight", "bias", "running_mean", "running_var")
CLASSIFIERS: Final = ("fc.", "last_linear.", "classif.", "AuxLogits.")
COUNTER: Final = ".num_batches_tracked"  # beside every batch normalisation
TYPES: Final = ("F16", "BF16", "F32", "F64")
INCEPTION_RANGE: Final = (-1.0, 1.0)
PADDING_NOTE: Final = (
    "PyTorch's InceptionV3 counts the zeros around a picture in the mean of its 9 average "
    "poolings, this network leaves them out, and no weights can express that: features differ "
    "from PyTorch's by some 0.2 of their norm at 299 pixels, by more at smaller sizes; weights "
    "that come from TF-Slim (timm's tf_in1k) were trained as they are used here"
)


def recognises(path: Path) -> bool:
    """Returns whether it is a safetensors file, a folder with `FILE`, or a pickle.

    A pickle is recognised so that `read` can refuse it.
    """
    path = _file(path)
    try:
        return _has_header(path) or _is_pickle(path)
    except (OSError, zipfile.BadZipFile):
        return False


def read(path: Path, network: str) -> Weights:
    """Reads the weights and folds batch normalisation's scale into the kernels.

    If timm's `CONFIGURATION` beside the file tells how pixels are normalised, the value range is
    that; a mean or deviation that differs by colour is folded into the first convolution, exactly,
    since that does not pad. Else it is [-1, 1] for InceptionV4 and Inception-ResNet-v2, whose
    pretrained weights all take that, and unknown for InceptionV3.

    Args:
        path: the file, or a folder with `FILE`.
        network: a name of `NETWORKS`, or ``auto``.

    Raises:
        UserError: a pickle, a damaged file, another network, or variables that do not fit.
    """
    path = _file(path)
    if not _has_header(path) and _is_pickle(path):
        raise UserError(
            f"{path} is a pickle, which can run code: PyTorch's weights are read from "
            "safetensors alone. Convert it where you trust it, with "
            "safetensors.torch.save_file."
        )
    backbone, tensors = _tensors(path, network)
    values: dict[str, np.ndarray] = {}
    for scope, module in modules(backbone).items():
        convolution = backbone.convolutions[scope]
        parts = [tensors[name] for name in _names(module, has_bias=convolution.has_bias)]
        parts[0] = parts[0].transpose(2, 3, 1, 0)
        if not convolution.has_bias:
            kernel, gamma, beta, mean, variance = parts
            parts = list(fold_scale(kernel, gamma, beta, mean, variance, EPSILON))
        names = (f"{scope}/{suffix}" for suffix in convolution.suffixes)
        values.update(zip(names, map(np.ascontiguousarray, parts), strict=True))
    value_range = None if backbone.name == "inception_v3" else INCEPTION_RANGE
    normalisation = _normalisation(path.with_name(CONFIGURATION))
    if normalisation:
        value_range = _apply(normalisation, backbone, values)
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise UserError(
                f"Weights in {path} are not finite, or variances not positive: see {name}. Export "
                "them again."
            )
    if backbone.name == "inception_v3":
        print(f"{path}: {PADDING_NOTE}", file=sys.stderr, flush=True)
    return Weights(backbone, values, value_range, answer=None)


def _file(path: Path) -> Path:
    return path / FILE if path.is_dir() else path


def _has_header(path: Path) -> bool:
    """Returns whether the file begins with eight bytes of length and a JSON object."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return start[8:] == b"{" and 2 <= length <= LARGEST_HEADER


def _is_pickle(path: Path) -> bool:
    """Returns whether it is one of PyTorch's own files: a pickle, alone or in a zip."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    with path.open("rb") as file:
        return file.read(2) in PICKLES


def _names(module: str, *, has_bias: bool) -> list[str]:
    """Returns a convolution's tensors, in the order of `Convolution.suffixes`, scale second."""
    if has_bias:
        return [f"{module}.weight", f"{module}.bias"]
    return [f"{module}.conv.weight", *(f"{module}.bn.{name}" for name in BATCH_NORM)]


def _tensors(path: Path, network: str) -> tuple[Backbone, dict[str, np.ndarray]]:
    """Reads the network's tensors as float32 by PyTorch's names, without the classifier's."""
    import ml_dtypes  # noqa: F401  # gives numpy bfloat16
    from safetensors import safe_open

    fact = f"Weights cannot be read from {path}"
    with in_one_line(fact, "Fetch it again"), safe_open(path, "numpy") as file:
        slices = {
            name: file.get_slice(name)
            for name in file.keys()  # noqa: SIM118  # it is no mapping
            if not name.startswith(CLASSIFIERS) and not name.endswith(COUNTER)
        }
        shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        backbone = _choose(network, shapes, path)
        for name, part in slices.items():
            if part.get_dtype() not in TYPES:
                raise UserError(
                    f"Weights in {path} are not floating-point numbers of 16, 32 or 64 bits: "
                    f"{name} is {part.get_dtype()}. Export them without quantisation."
                )
        return backbone, {name: file.get_tensor(name).astype(np.float32) for name in slices}


def _choose(network: str, shapes: dict[str, tuple[int, ...]], path: Path) -> Backbone:
    """Recognises the network of these tensors, and checks that all are there."""
    expected = {name: expected_tensors(NETWORKS[name]) for name in WITH_NAMES}
    scopes = {key: NETWORKS[name].scope for name in WITH_NAMES for key in expected[name]}
    backbone = choose_network(network, (scopes.get(name, name) for name in shapes), path)
    if backbone.name not in expected:
        raise UserError(
            f"{path} cannot hold {backbone.name}: timm has only {', '.join(WITH_NAMES)}. Give "
            "its weights in another form."
        )
    problems = mismatch(shapes, expected[backbone.name])
    if problems:
        raise UserError(
            f"Weights in {path} do not fit timm's {backbone.title}: {problems}. Export the "
            "state of the whole network."
        )
    return backbone


def expected_tensors(backbone: Backbone) -> dict[str, tuple[int, ...]]:
    """Returns PyTorch's names and shapes; its kernels are [filters, channels, height, width]."""
    shapes = dict(backbone.variables(backbone.native_size))
    expected: dict[str, tuple[int, ...]] = {}
    for scope, module in modules(backbone).items():
        height, width, channels, filters = shapes[f"{scope}/weights"]
        kernel, *others = _names(module, has_bias=backbone.convolutions[scope].has_bias)
        expected[kernel] = (filters, channels, height, width)
        expected.update(dict.fromkeys(others, (filters,)))
    return expected


def _normalisation(configuration: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Reads mean and deviation by colour, of pixels in [0, 1], ``[3]`` each."""
    if not configuration.exists():
        return None
    with in_one_line(f"{configuration} is not JSON", "Correct or remove it"):
        content = read_json(configuration)
    settings = content.get("pretrained_cfg", content) if isinstance(content, dict) else {}
    if not isinstance(settings, dict) or not settings.keys() & {"mean", "std"}:
        return None
    mean: Any = settings.get("mean")
    deviation: Any = settings.get("std")
    if not (_is_colour(mean) and _is_colour(deviation) and min(deviation) > 0):
        raise UserError(
            f"{configuration} has the mean {mean} and the std {deviation}, not 3 numbers each, "
            "the std positive. Correct or remove it."
        )
    return np.asarray(mean, np.float64), np.asarray(deviation, np.float64)


def _is_colour(numbers: Any) -> bool:
    return (
        isinstance(numbers, list)
        and len(numbers) == 3
        and all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
    )


def _apply(
    normalisation: tuple[np.ndarray, np.ndarray], backbone: Backbone, values: dict[str, np.ndarray]
) -> tuple[float, float]:
    """Returns the value range; makes the first convolution take [-1, 1] if it differs by colour."""
    mean, deviation = normalisation
    low, high = -mean / deviation, (1 - mean) / deviation
    if (low == low[0]).all() and (high == high[0]).all():
        return float(low[0]), float(high[0])
    scope = next(iter(backbone.convolutions))
    kernel, moving_mean = values[f"{scope}/weights"], values[f"{scope}/BatchNorm/moving_mean"]
    # A pixel x in [-1, 1] is the network's x * (high - low) / 2 + (high + low) / 2.
    shift = np.einsum("hwcf,c->f", kernel.astype(np.float64), (high + low) / 2)
    values[f"{scope}/BatchNorm/moving_mean"] = (moving_mean - shift).astype(np.float32)
    scaled = kernel * ((high - low) / 2)[:, None]
    values[f"{scope}/weights"] = scaled.astype(np.float32)
    return INCEPTION_RANGE
