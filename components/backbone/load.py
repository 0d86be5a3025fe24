"""Loads a module's variables into a Keras network and checks it against the module itself."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from inception_finetune.components.backbone.foreign import in_one_line
from inception_finetune.components.backbone.keras_network import build_network, fill
from inception_finetune.components.backbone.module import fingerprint, require_saved_model
from inception_finetune.components.backbone.module_function import ModuleFunction, find_function
from inception_finetune.components.backbone.network import Backbone, Variable, mismatch
from inception_finetune.components.backbone.networks import AUTO, NETWORKS
from inception_finetune.components.backbone.safety import read_saved_model, refuse_unsafe
from inception_finetune.components.errors import UserError

if TYPE_CHECKING:
    import tf_keras as keras
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.train import CheckpointReader

TOLERANCE: Final = 1e-4  # relative; float32 rounding alone gives 1e-6 to 1e-5
PROBE_SEED: Final = 0
PROBE_IMAGES: Final = 2
# Counters that TensorFlow adds to checkpoints; they belong to no network.
COUNTERS: Final = frozenset({"global_step", "save_counter"})
OBJECT_GRAPH_KEY: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"  # of TF2 checkpoints
# Ranges that a module may want its pixels in, by what turns [0, 1] into them.
RANGES: Final[dict[str, Callable[[np.ndarray], np.ndarray]]] = {
    "[-1, 1]": lambda images: images * 2 - 1,
    "[0, 255]": lambda images: images * 255,
}


@dataclass(frozen=True)
class LoadedBackbone:
    """A checked network with the weights of a module.

    `network` maps ``[B, S, S, 3]`` float32 in [-1, 1] to ``[B, features]`` float32; the module it
    came from takes [0, 1]. The differences are the largest ones between both networks' answers to
    the probe images: `absolute_difference` in the features' unit, `relative_difference` over the
    largest feature. `seconds` is the time that loading and checking took.
    """

    backbone: Backbone
    network: "keras.Model"
    fingerprint: str
    variables: tuple[Variable, ...]
    image_size: int
    probe_size: int
    relative_difference: float
    absolute_difference: float
    seconds: float


def load_backbone(
    directory: Path,
    *,
    image_size: int,
    network: str = AUTO,
    expected_fingerprint: str | None = None,
) -> LoadedBackbone:
    """Loads a TF1 or TF2 feature-vector module into Keras and checks the result.

    Args:
        directory: the module, as `resolve` returns it.
        image_size: pixels a side of the images that the network will get.
        network: name of the network that it must be, or ``auto``.
        expected_fingerprint: of the module that a run was configured with.

    Raises:
        UserError: not a SavedModel, one that could touch files, another network, variables that
            do not fit, images too small for it, answers that Keras' network does not reproduce, or
            another module than expected.
    """
    started = time.monotonic()
    require_saved_model(directory)
    digest = fingerprint(directory)
    if expected_fingerprint not in (None, digest):
        raise UserError(
            f"Backbone in {directory} changed during the run: its fingerprint is "
            f"{digest[:12]}, configured was {str(expected_fingerprint)[:12]}. Start the run "
            "again."
        )
    saved_model = read_saved_model(directory)
    refuse_unsafe(saved_model, directory)
    module = _load_module(directory, saved_model)
    with in_one_line(f"Variables of the module in {directory} cannot be read", "Fetch it again"):
        listed_names = [variable.name for variable in getattr(module, "variables", ())]
        backbone = choose_network(network, [*listed_names, *checkpoint_names(directory)], directory)
        require_size(backbone, image_size)
        values = module_values(backbone, image_size, module, directory)
    keras_network = build_network(backbone, image_size)
    fill(backbone, keras_network, values)

    with in_one_line(f"Function of the module in {directory} cannot be read", "Fetch it again"):
        function = find_function(backbone, module, directory)
    # A module of free size is probed at the size at which it will be used.
    probe_size = function.image_size or image_size
    probed_network = keras_network
    if probe_size != image_size:
        probed_network = build_network(backbone, probe_size)
        probed_network.set_weights(keras_network.get_weights())
    relative, absolute = check(function, probed_network, probe_size, directory)
    return LoadedBackbone(
        backbone=backbone,
        network=keras_network,
        fingerprint=digest,
        variables=tuple(backbone.variables(image_size)),
        image_size=image_size,
        probe_size=probe_size,
        relative_difference=relative,
        absolute_difference=absolute,
        seconds=time.monotonic() - started,
    )


def require_size(backbone: Backbone, image_size: int) -> None:
    """Checks that images are large enough for the network's last kernels.

    Raises:
        UserError: they are smaller.
    """
    if image_size < backbone.smallest_size:
        raise UserError(
            f"image.size is {image_size}, too small for {backbone.title}: at least "
            f"{backbone.smallest_size} pixels are needed. Raise it."
        )


def choose_network(wanted: str, variables: Iterable[str], source: Path) -> Backbone:
    """Recognises the network that variables of these names belong to.

    Args:
        wanted: name of the network that it must be, or ``auto``.
        variables: names in TF-Slim's way, with any prefix.
        source: where they come from, for messages.

    Raises:
        UserError: it is another network than the wanted one, or ``auto`` and an unknown one.
    """
    names = list(variables)
    matches = [one for one in NETWORKS.values() if any(one.scope in name for name in names)]
    if wanted == AUTO:
        if not matches:
            titles = ", ".join(one.title for one in NETWORKS.values())
            raise UserError(
                f"No known network in {source}: none of its {len(names)} variables is named as in "
                f"{titles}. Give another module, or backbone.network=NAME."
            )
        return matches[0]
    backbone = NETWORKS[wanted]
    if matches and backbone not in matches:
        raise UserError(
            f"Another network in {source}: it holds {matches[0].title}, and backbone.network "
            f"is {wanted}. Give a module of that network, or "
            f"backbone.network={matches[0].name}."
        )
    return backbone


def _load_module(directory: Path, saved_model: "SavedModel") -> Any:
    """Loads the inference graph; modules in TF1's hub format hold it beside one for training."""
    import tensorflow as tf

    tag_sets = [set(meta_graph.meta_info_def.tags) for meta_graph in saved_model.meta_graphs]
    preferred: tuple[set[str], ...] = (set(), {"serve"}, {"train"})
    tags = next((tags for tags in preferred if tags in tag_sets), tag_sets[0])
    with in_one_line(f"Module in {directory} cannot be loaded", "Fetch it again"):
        return tf.saved_model.load(str(directory), tags=sorted(tags))


def module_values(
    backbone: Backbone, image_size: int, module: Any, directory: Path
) -> dict[str, np.ndarray]:
    """Returns the module's variables under TF-Slim's names, whatever their order and prefix.

    Args:
        backbone: the network's table.
        image_size: side of the images in pixels.
        module: as TensorFlow loads it.
        directory: of the module.

    Returns:
        All variables, float32.

    Raises:
        UserError: some are missing, surplus, present twice or of another shape.
    """
    named = [(variable.name, variable) for variable in getattr(module, "variables", ())]
    if any(backbone.scope in name for name, _ in named):
        arrays = [(name, variable.numpy()) for name, variable in named]
    else:
        arrays = checkpoint_arrays(directory)
    values: dict[str, np.ndarray] = {}
    for name, array in arrays:
        name = name.removesuffix(":0")
        if name.rpartition("/")[2] in COUNTERS:
            continue
        _, prefix, rest = name.rpartition(backbone.scope)
        slim_name = prefix + rest
        if slim_name in values:
            raise UserError(
                f"Module in {directory} holds {slim_name} twice under different prefixes, and must "
                f"hold one {backbone.title}. Export one network alone."
            )
        values[slim_name] = array
    expected = backbone.variables(image_size)
    problems = mismatch({name: array.shape for name, array in values.items()}, dict(expected))
    if problems:
        raise UserError(
            f"Module in {directory} does not fit {backbone.title}, which as a feature vector "
            f"has {len(expected)} variables: {problems}. Take a module such as "
            f"{backbone.module or 'one that `backbone make-standin` writes'}."
        )
    return {name: array.astype(np.float32) for name, array in values.items()}


def checkpoint_names(directory: Path) -> list[str]:
    """Returns the names of the variables in the module's checkpoint; see `checkpoint_keys`."""
    return [name for name, _ in checkpoint_keys(directory)[1]]


def checkpoint_arrays(directory: Path) -> list[tuple[str, np.ndarray]]:
    """Reads variables from the module's checkpoint, for modules that do not list them."""
    reader, keys = checkpoint_keys(directory)
    return [(name, reader.get_tensor(key)) for name, key in keys]


def checkpoint_keys(directory: Path) -> "tuple[CheckpointReader, list[tuple[str, str]]]":
    """Opens a module's checkpoint.

    TF1 names its entries after the variables; TF2 after the objects that hold them, and keeps the
    variables' names in the object graph.

    Args:
        directory: of the module.

    Returns:
        A reader, and each variable's name with its key in the checkpoint.

    Raises:
        UserError: the checkpoint is missing or cannot be read.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    path = directory / "variables" / "variables"
    fact = f"Variables of a module cannot be read: {path} is missing or damaged"
    with in_one_line(fact, "Fetch the module again"):
        reader = tf.train.load_checkpoint(str(path))
        keys = reader.get_variable_to_shape_map()
        if OBJECT_GRAPH_KEY not in keys:
            return reader, [(key, key) for key in keys]
        graph = TrackableObjectGraph.FromString(reader.get_tensor(OBJECT_GRAPH_KEY))
    return reader, [
        (attribute.full_name, attribute.checkpoint_key)
        for node in graph.nodes
        for attribute in node.attributes
    ]


def probe_images(size: int, count: int = PROBE_IMAGES) -> np.ndarray:
    """Returns seeded coloured patches under noise.

    Args:
        size: side in pixels.
        count: number of images.

    Returns:
        ``[count, size, size, 3]`` float32 in [0, 1].
    """
    generator = np.random.default_rng(PROBE_SEED)
    patches = generator.random((count, 5, 5, 3))
    rows = np.arange(size) * 5 // size
    noise = generator.normal(0, 0.1, (count, size, size, 3))
    return np.clip(patches[:, rows][:, :, rows] + noise, 0, 1).astype(np.float32)


def differences(answer: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Returns the largest difference, relative to the reference's largest value and absolute."""
    absolute = float(np.abs(answer - reference).max())
    largest = float(np.abs(reference).max())
    return (absolute / largest if largest else float("inf")), absolute


def check(
    function: ModuleFunction, network: "keras.Model", size: int, directory: Path
) -> tuple[float, float]:
    """Compares the network with the module on probe images.

    Args:
        function: the module's, of images in [0, 1].
        network: Keras' network, of images in [-1, 1].
        size: side of the images in pixels.
        directory: of the module, for messages.

    Returns:
        The relative and the absolute difference.

    Raises:
        UserError: the relative difference exceeds `TOLERANCE`.
    """
    images = probe_images(size, function.batch_size or PROBE_IMAGES)
    answer = network(images * 2 - 1, training=False).numpy()
    relative, absolute = differences(answer, function(images))
    if relative <= TOLERANCE:
        return relative, absolute
    for pixel_range, convert in RANGES.items():
        if differences(answer, function(convert(images)))[0] <= TOLERANCE:
            raise UserError(
                f"Module in {directory} wants pixels in {pixel_range}, and a TF-Hub image module "
                "takes pixels in [0, 1] (fed [0, 1] it differs from Keras' network by a relative "
                f"{relative:.2g}, fed {pixel_range} it agrees). Export it with the scaling inside."
            )
    raise UserError(
        f"Module in {directory} differs from Keras' {network.name} by {relative:.2g} "
        f"(absolute {absolute:.2g}) at {size} pixels, more than a relative {TOLERANCE:g}: "
        "its graph is not that network in inference mode with these variables. Take "
        "another module."
    )
