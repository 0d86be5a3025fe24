"""A network in TF-Hub's format, for where no pretrained module can be reached."""

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from inception_finetune.components.backbone import made_module
from inception_finetune.components.backbone.blocks import Convolution
from inception_finetune.components.backbone.load import require_size
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.backbone.weights import npz
from inception_finetune.components.errors import UserError

MANIFEST: Final = "standin.json"
FORMAT_VERSION: Final = 2
CALIBRATION_IMAGES: Final = 96  # a third where images are larger and have more positions
LARGE: Final = 150  # pixels a side
LARGEST_NOISE: Final = 0.2  # standard deviation, of pixels in [0, 1]
SMALLEST_VARIANCE: Final = 0.05  # of a layer's mean; a rarely active channel must not explode
# At beta 0 a random network this deep is chaotic: float32 rounding grows by 1.2 a convolution, to
# 1e-4 of the output. At 1, where ReLU passes most values on, it grows by 1.06 and stays below 1e-5.
BETA: Final = 1.0
SEED_LIMIT: Final = 2**32


def make_standin(
    directory: Path,
    *,
    seed: int,
    network: str = "inception_v3",
    image_size: int | None = None,
    weights: Path | None = None,
) -> None:
    """Writes a module that takes images in [0, 1] and gives ``[B, features]`` float32.

    Without `weights` its kernels are He-scaled noise and its batch normalisation is calibrated,
    layer by layer, on two photographs that scikit-learn ships: it has learned nothing. With
    `weights` it is the network in that file. A directory that already holds the same stand-in is
    left as it is.

    Args:
        directory: the module's place; written aside and renamed when it is whole.
        seed: of the kernels, in [0, 2**32). The same seed gives the same variables.
        network: one of `NETWORKS`.
        image_size: pixels a side of the images that the network will see; the network's smallest
            where none is given. Without `weights` it is calibrated for that size; at others its
            activations grow or fade.
        weights: .npz with float16 or float32 arrays; see `npz.read`.

    Raises:
        UserError: bad settings, an array file that does not fit, or another thing in the place.
    """
    if not 0 <= seed < SEED_LIMIT:
        raise UserError(f"seed is {seed}, not in [0, 2**32). Choose another.")
    if network not in NETWORKS:
        raise UserError(
            f"network is {network}, which is not known. Choose one of {', '.join(NETWORKS)}."
        )
    backbone = NETWORKS[network]
    size = backbone.smallest_size if image_size is None else image_size
    require_size(backbone, size)
    directory = Path(directory)
    settings = _settings(backbone, seed, size, weights)
    origin = made_module.Origin("make-standin", MANIFEST, settings)
    if made_module.is_made(directory, origin):
        return
    values = npz.read(weights, network).values if weights else random_values(backbone, seed, size)
    made_module.write(directory, backbone, values, size, origin, _note(backbone, settings))


def _settings(
    backbone: Backbone, seed: int, image_size: int, weights: Path | None
) -> dict[str, Any]:
    settings = {"format": FORMAT_VERSION, "network": backbone.name}
    if weights is None:
        return {**settings, "seed": seed, "image_size": image_size}
    if not weights.is_file():
        raise UserError(f"No such file of weights: {weights}. Give the path of an .npz file.")
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # Neither the seed nor the size has a part in a network whose weights are given.
    return {**settings, "weights_sha256": digest}


def random_values(backbone: Backbone, seed: int, image_size: int) -> dict[str, np.ndarray]:
    """Returns He-scaled kernels, with the batch statistics of the calibration images.

    Args:
        backbone: the network's table.
        seed: of the kernels.
        image_size: side of the images in pixels.

    Returns:
        All variables by TF-Slim name, float32.
    """
    import tensorflow as tf

    from inception_finetune.components.backbone import forward

    shapes = dict(backbone.variables(image_size))
    numbers = {scope: number for number, scope in enumerate(backbone.convolutions)}
    values: dict[str, np.ndarray] = {}

    def convolve(scope: str, convolution: Convolution, value: tf.Tensor) -> tf.Tensor:
        generator = np.random.default_rng([seed, numbers[scope]])
        names = [f"{scope}/{suffix}" for suffix in convolution.suffixes]
        kernels = [name for name in names if name.endswith("weights")]
        for name in kernels:
            values[name] = _random_kernel(shapes[name], generator, name)
        value = forward.convolve(
            value, [tf.constant(values[name]) for name in kernels], convolution
        )
        if convolution.has_bias:
            values[names[-1]] = np.zeros(shapes[names[-1]], np.float32)
            return forward.add_bias(value, values[names[-1]], convolution)
        mean, variance = (moment.numpy() for moment in tf.nn.moments(value, axes=[0, 1, 2]))
        variance = np.maximum(variance, SMALLEST_VARIANCE * variance.mean())
        statistics = (np.full_like(mean, BETA), mean, variance)
        values.update(zip(names[len(kernels) :], statistics, strict=True))
        return forward.normalise(value, *statistics, convolution)

    images = tf.constant(calibration_images(image_size) * 2 - 1)
    forward.run_blocks(backbone, backbone.blocks, images, convolve)
    return values


def _random_kernel(shape: tuple[int, ...], generator: np.random.Generator, name: str) -> np.ndarray:
    """Draws filters that respond to contrast, not to brightness, as trained ones mostly do."""
    is_depthwise = name.endswith("/depthwise_weights")  # each filter sees one channel
    inputs = shape[:2] if is_depthwise else shape[:3]
    kernel = generator.standard_normal(shape, np.float32)
    centre = kernel.mean(axis=tuple(range(len(inputs))))
    return ((kernel - centre) * np.sqrt(2.0 / np.prod(inputs))).astype(np.float32)


def calibration_images(image_size: int) -> np.ndarray:
    """Returns noisy crops of two photographs, half of them gray.

    Photographs and not the digits, so that no test image of the preset `digits` has a part. Noise,
    because without it the random filters that answer to fine detail get a tiny variance, and
    sharper pictures than these would explode.

    Args:
        image_size: side in pixels.

    Returns:
        ``[B, S, S, 3]`` float32 in [0, 1].
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photographs = [Image.fromarray(picture) for picture in load_sample_images().images]
    generator = np.random.default_rng(0)  # the same pictures for every seed
    images = []
    for index in range(CALIBRATION_IMAGES // (3 if image_size >= LARGE else 1)):
        photograph = photographs[index % len(photographs)]
        side = int(generator.integers(48, min(photograph.size)))
        left = int(generator.integers(0, photograph.width - side + 1))
        top = int(generator.integers(0, photograph.height - side + 1))
        crop = photograph.resize(
            (image_size, image_size),
            Image.Resampling.BILINEAR,
            box=(left, top, left + side, top + side),
        )
        if index % 4 >= 2:
            crop = crop.convert("L").convert("RGB")
        pixels = np.asarray(crop, np.float32) / 255
        noise = generator.standard_normal(pixels.shape, np.float32)
        images.append(np.clip(pixels + noise * generator.uniform(0, LARGEST_NOISE), 0, 1))
    return np.stack(images).astype(np.float32)


def _note(backbone: Backbone, settings: dict[str, Any]) -> str:
    title = f"{backbone.title} in TF-Hub's format, by `inception-finetune backbone make-standin`.\n"
    if "weights_sha256" in settings:
        return (
            f"{title}This is NOT the module from TF-Hub. Its weights come from the array file\n"
            f"(`--weights`) with sha256 {settings['weights_sha256']}.\n"
        )
    return (
        f"{title}This network is NOT pretrained: its kernels are random (seed "
        f"{settings['seed']}) and it has\nlearned nothing. Its batch-norm statistics were "
        "calibrated on two photographs, so that activations\nkeep a sane scale. It shows that the "
        "pipeline works, never how well fine-tuning works.\n"
    )
