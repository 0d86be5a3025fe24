"""Altered copies of images are found, and images that merely look alike are not."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from inception_finetune.components.data_check.near_duplicates import (
    Pair,
    duplicate_groups,
    near_duplicates,
)
from inception_finetune.components.data_check.neighbours import nearest_neighbours

_SIDE = 40
_COUNT = 40


def _scenes(count: int, seed: int = 0) -> np.ndarray:
    """Random smooth patterns: [count, 48, 48] uint8."""
    noise = np.random.default_rng(seed).normal(size=(count, 48, 48))
    smooth = np.stack([gaussian_filter(one, 2.5) for one in noise])
    return (128 + 90 * smooth / np.abs(smooth).max()).astype(np.uint8)


def _resized(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BOX))


def _find(images: list[np.ndarray], features: np.ndarray | None = None) -> list[Pair]:
    grey = np.stack([_resized(image) for image in images])
    if features is None:
        small = [Image.fromarray(one).resize((6, 6), Image.Resampling.BOX) for one in images]
        features = np.stack([np.asarray(one, np.float32).ravel() for one in small])
        features -= features.mean(axis=1, keepdims=True)
        features /= features.std(axis=1, keepdims=True)
    return near_duplicates(grey, nearest_neighbours(features), lambda n, note="": None)


@pytest.mark.parametrize(
    "alter",
    [
        lambda image: image,
        lambda image: np.clip(1.3 * image.astype(float), 0, 255).astype(np.uint8),
        lambda image: np.roll(image, 3, axis=1),
        lambda image: image[2:-3, 2:-3],
        lambda image: image[::2, ::2],
        lambda image: np.clip(
            image + np.random.default_rng(5).normal(0, 4, image.shape), 0, 255
        ).astype(np.uint8),
    ],
    ids=["equal", "brighter", "shifted", "cropped", "smaller", "noisy"],
)
def test_altered_copies_are_found_and_nothing_else(alter):
    scenes = list(_scenes(_COUNT))
    found = _find([*scenes, alter(scenes[7]), alter(scenes[20])])
    assert {(pair.first, pair.second) for pair in found} == {(7, _COUNT), (20, _COUNT + 1)}
    assert not any(pair.mirrored for pair in found)


def test_a_mirrored_copy_is_found_where_its_features_are_near():
    scenes = list(_scenes(_COUNT))
    images = [*scenes, scenes[3][:, ::-1]]
    features = np.random.default_rng(1).normal(size=(len(images), 30)).astype(np.float32)
    features[-1] = features[3] + 0.1
    [pair] = _find(images, features)
    assert (pair.first, pair.second, pair.mirrored) == (3, _COUNT, True)


def test_a_common_horizon_makes_no_copies():
    """With the threshold of images whose details are many, 17 of these pairs would count."""
    images = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        image = np.full((48, 48), 200.0)
        image[22 + random.integers(0, 5) :] = 90
        top, left = random.integers(8, 40, 2)
        image[top - 5 : top, left - 5 : left] += 12 * random.normal(size=(5, 5))
        images.append((image + random.normal(0, 2, image.shape)).astype(np.uint8))
    alike = 1 + np.random.default_rng(0).normal(0, 0.01, (20, 8))
    found = _find(images, alike.astype(np.float32))
    assert len(found) <= 3, [round(pair.correlation, 3) for pair in found]


def test_flat_images_make_no_copies():
    flat = [np.full((48, 48), level, np.uint8) for level in (10, 10, 200, 255)]
    assert _find(flat, np.ones((4, 3), np.float32)) == []


@pytest.mark.parametrize("count", [1, 2])
def test_few_images_are_compared_too(count):
    assert len(_find([_scenes(1)[0]] * count, np.eye(1, 3, dtype=np.float32).repeat(count, 0))) <= 1


def test_groups_join_what_pairs_join():
    groups = duplicate_groups([Pair(0, 2, 1.0, False), Pair(2, 4, 0.96, False)], 6)
    assert groups[0] == groups[2] == groups[4]
    assert len(set(groups.tolist())) == 4
