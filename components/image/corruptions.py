"""The fifteen corruptions of ImageNet-C and CIFAR-10-C, from their description.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (2019). Lengths are shares of the shorter side, so that a strength means the same at
every size. Each random number is drawn alike for all strengths, which therefore differ in degree
alone. Frost is drawn, where the paper lays photographs of it over pictures.
"""

import hashlib
import io
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage, signal

Floats = npt.NDArray[np.float64]
_SAMPLES: Final = 8  # of a kernel's side in each pixel, and of a zoom
_EDGE: Final = "reflect"


def corrupt(
    pixels: npt.NDArray[np.uint8], name: str, strength: int, *, seed: int, identity: str
) -> npt.NDArray[np.uint8]:
    """Corrupts a picture, always in the same way for the same arguments.

    Args:
      pixels: ``[H, W, 3]`` uint8, RGB, of any size.
      name: a key of `CORRUPTIONS`.
      strength: 1, 2 or 3.
      seed: of all random numbers.
      identity: of the picture; others get other random numbers.

    Returns:
      A picture of the same shape.
    """
    digest = hashlib.sha256(f"{seed}\0{identity}\0{name}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8]))
    corruption = CORRUPTIONS[name]
    found = corruption.apply(pixels / 255.0, corruption.values[strength - 1], random)
    return np.round(255 * np.clip(found, 0, 1)).astype(np.uint8)


def _gaussian_noise(picture: Floats, deviation: float, random: np.random.Generator) -> Floats:
    return picture + deviation * random.standard_normal(picture.shape)


def _shot_noise(picture: Floats, deviation: float, random: np.random.Generator) -> Floats:
    # Of a count of photons, which is nearly normal with the square root of its mean.
    return picture + deviation * np.sqrt(picture) * random.standard_normal(picture.shape)


def _impulse_noise(picture: Floats, share: float, random: np.random.Generator) -> Floats:
    drawn, ends = random.random(picture.shape), random.integers(0, 2, picture.shape)
    return np.where(drawn < share, ends, picture)


def _defocus_blur(picture: Floats, radius: float, random: np.random.Generator) -> Floats:
    return _filtered(picture, _disk(radius * _side(picture)))


def _glass_blur(picture: Floats, reach: float, random: np.random.Generator) -> Floats:
    """Each pixel is one from nearby, between two slight blurs."""
    reach *= _side(picture)
    moved = _blurred(picture, reach / 4)
    for _ in range(2):
        offsets = reach * random.uniform(-1, 1, (2, *picture.shape[:2]))
        moved = _displaced(moved, offsets)
    return _blurred(moved, reach / 4)


def _motion_blur(picture: Floats, length: float, random: np.random.Generator) -> Floats:
    return _filtered(picture, _line(length * _side(picture), random.uniform(-np.pi / 4, np.pi / 4)))


def _zoom_blur(picture: Floats, zoom: float, random: np.random.Generator) -> Floats:
    centre = (np.array(picture.shape[:2]) - 1)[:, np.newaxis, np.newaxis] / 2
    positions = np.indices(picture.shape[:2]) - centre
    zooms = np.linspace(0, zoom, 2 * _SAMPLES)
    return np.mean([_displaced(picture, positions / (1 + one) - positions) for one in zooms], 0)


def _snow(picture: Floats, amount: float, random: np.random.Generator) -> Floats:
    """Flakes that fall slantwise, and the whitish light that comes with them."""
    side = _side(picture)
    flakes = ndimage.gaussian_filter(random.standard_normal(picture.shape[:2]), side / 120)
    flakes = np.maximum(flakes / max(flakes.std(), 1e-9) - 1.2, 0)
    line = _line(side / 14, random.uniform(np.pi / 6, np.pi / 3))
    flakes = _filtered(flakes[..., np.newaxis], line)
    grey = picture.mean(axis=-1, keepdims=True)
    light = picture + amount * (np.maximum(picture, 0.5 + 0.5 * grey) - picture)
    return light + 2 * amount * flakes


def _frost(picture: Floats, amount: float, random: np.random.Generator) -> Floats:
    """Bluish white crystals along the ridges of a rough surface, thicker towards the edges."""
    height, width = picture.shape[:2]
    ridges = 1 - np.abs(2 * _clouds(height, width, random, roughness=0.75) - 1)
    rows, columns = np.abs(np.linspace(-1, 1, height)), np.abs(np.linspace(-1, 1, width))
    edge = np.maximum(rows[:, np.newaxis], columns)
    cover = np.clip(amount * (0.4 + 0.6 * edge) * ridges**3 * 2, 0, 0.95)[..., np.newaxis]
    return picture * (1 - cover) + cover * np.array([0.85, 0.93, 1.0])


def _fog(picture: Floats, amount: float, random: np.random.Generator) -> Floats:
    height, width = picture.shape[:2]
    clouds = _clouds(height, width, random, roughness=0.5)[..., np.newaxis]
    cover = amount * (0.5 + 0.5 * clouds)
    return picture * (1 - cover) + 0.9 * cover


def _brightness(picture: Floats, more: float, random: np.random.Generator) -> Floats:
    """Adds to the value, as HSV has it."""
    value = picture.max(axis=-1, keepdims=True)
    new = np.minimum(value + more, 1)
    return np.where(value > 0, picture * new / np.maximum(value, 1e-9), new)


def _contrast(picture: Floats, kept: float, random: np.random.Generator) -> Floats:
    mean = picture.mean(axis=(0, 1))
    return mean + kept * (picture - mean)


def _elastic(picture: Floats, stretch: float, random: np.random.Generator) -> Floats:
    side = _side(picture)
    fields = random.uniform(-1, 1, (2, *picture.shape[:2]))
    smooth = np.stack([ndimage.gaussian_filter(one, side / 16, mode=_EDGE) for one in fields])
    return _displaced(picture, stretch * side * smooth / max(smooth.std(), 1e-9))


def _pixelate(picture: Floats, kept: float, random: np.random.Generator) -> Floats:
    image = Image.fromarray(np.round(255 * picture).astype(np.uint8))
    small = image.resize([max(round(kept * side), 1) for side in image.size], Image.Resampling.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.NEAREST)) / 255.0


def _jpeg(picture: Floats, quality: float, random: np.random.Generator) -> Floats:
    buffer = io.BytesIO()
    Image.fromarray(np.round(255 * picture).astype(np.uint8)).save(
        buffer, "JPEG", quality=int(quality)
    )
    return np.asarray(Image.open(buffer)) / 255.0


class Corruption(NamedTuple):
    """One of the fifteen."""

    title: str
    kind: str
    # A picture ``[H, W, 3]`` in [0, 1], a value and random numbers to a picture.
    apply: Callable[[Floats, float, np.random.Generator], Floats]
    values: tuple[float, float, float]  # by strength


STRENGTHS: Final = (1, 2, 3)
CORRUPTIONS: Final[Mapping[str, Corruption]] = {
    "gaussian_noise": Corruption("Gaussian noise", "noise", _gaussian_noise, (0.04, 0.08, 0.16)),
    "shot_noise": Corruption("shot noise", "noise", _shot_noise, (0.06, 0.12, 0.24)),
    "impulse_noise": Corruption("impulse noise", "noise", _impulse_noise, (0.02, 0.05, 0.12)),
    "defocus_blur": Corruption("defocus blur", "blur", _defocus_blur, (0.015, 0.03, 0.05)),
    "glass_blur": Corruption("glass blur", "blur", _glass_blur, (0.015, 0.03, 0.05)),
    "motion_blur": Corruption("motion blur", "blur", _motion_blur, (0.06, 0.12, 0.2)),
    "zoom_blur": Corruption("zoom blur", "blur", _zoom_blur, (0.08, 0.16, 0.3)),
    "snow": Corruption("snow", "weather", _snow, (0.2, 0.4, 0.7)),
    "frost": Corruption("frost", "weather", _frost, (0.25, 0.5, 0.8)),
    "fog": Corruption("fog", "weather", _fog, (0.35, 0.6, 0.85)),
    "brightness": Corruption("brightness", "weather", _brightness, (0.1, 0.25, 0.4)),
    "contrast": Corruption("contrast", "digital", _contrast, (0.5, 0.25, 0.1)),
    "elastic_transform": Corruption("elastic", "digital", _elastic, (0.01, 0.02, 0.035)),
    "pixelate": Corruption("pixelate", "digital", _pixelate, (0.6, 0.4, 0.25)),
    "jpeg_compression": Corruption("JPEG", "digital", _jpeg, (50, 25, 10)),
}


def _side(picture: Floats) -> int:
    return min(picture.shape[:2])


def _blurred(picture: Floats, deviation: float) -> Floats:
    return np.asarray(ndimage.gaussian_filter(picture, (deviation, deviation, 0), mode=_EDGE))


def _displaced(picture: Floats, offsets: Floats) -> Floats:
    """Takes each pixel from where it is plus ``offsets``, ``[2, H, W]`` in pixels."""
    positions = np.indices(picture.shape[:2]) + offsets
    channels = (
        ndimage.map_coordinates(picture[..., channel], positions, order=1, mode=_EDGE)
        for channel in range(picture.shape[-1])
    )
    return np.stack(list(channels), axis=-1)


def _filtered(picture: Floats, kernel: Floats) -> Floats:
    """Convolves each channel with a kernel of odd sides, whose sum is 1."""
    margin = [(side // 2, side // 2) for side in kernel.shape]
    padded = np.pad(picture, [*margin, (0, 0)], mode="symmetric")
    found = signal.oaconvolve(padded, kernel[..., np.newaxis], mode="valid", axes=(0, 1))
    return np.asarray(found)


def _disk(radius: float) -> Floats:
    """A disk, as pixels see it that are squares themselves."""
    reach = int(np.ceil(radius + 1))
    places = (np.arange((2 * reach + 1) * _SAMPLES) + 0.5) / _SAMPLES - reach - 0.5
    inside = places[:, np.newaxis] ** 2 + places**2 <= max(radius, 1 / _SAMPLES) ** 2
    return _by_pixel(ndimage.uniform_filter(inside.astype(float), _SAMPLES, mode="constant"))


def _line(length: float, angle: float) -> Floats:
    """A line through the middle, a pixel wide."""
    reach = int(np.ceil(length / 2 + 0.5))
    places = (np.arange((2 * reach + 1) * _SAMPLES) + 0.5) / _SAMPLES - reach - 0.5
    rows, columns = np.meshgrid(places, places, indexing="ij")
    along = rows * np.sin(angle) + columns * np.cos(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    return _by_pixel(((abs(along) <= max(length, 1) / 2) & (abs(across) <= 0.5)).astype(float))


def _by_pixel(fine: Floats) -> Floats:
    side = len(fine) // _SAMPLES
    kernel = fine.reshape(side, _SAMPLES, side, _SAMPLES).sum(axis=(1, 3))
    return np.asarray(kernel / kernel.sum())


def _clouds(height: int, width: int, random: np.random.Generator, roughness: float) -> Floats:
    """Smooth noise of all scales, ``[H, W]`` from 0 to 1, each half as large as the one before."""
    total, weight, cells = np.zeros([height, width]), 1.0, 2
    while cells <= max(min(height, width), 2):
        grid = random.random((cells + 1, cells + 1))
        rows = np.linspace(0, cells, height)[:, np.newaxis] + np.zeros(width)
        columns = np.linspace(0, cells, width) + np.zeros([height, 1])
        total += weight * ndimage.map_coordinates(grid, [rows, columns], order=1, mode="nearest")
        weight, cells = weight * roughness, 2 * cells
    return np.asarray((total - total.min()) / max(np.ptp(total), 1e-9))
