"""Blank, dark, bright, blurred, small and far images are flagged, ordinary ones are not."""

import numpy as np
import pytest

from inception_finetune.components.data_check.measured import GREY_SIDE, Measured
from inception_finetune.components.data_check.neighbours import nearest_neighbours
from inception_finetune.components.data_check.unusual import unusual_images

_COUNT = 50


def _measured(**changed: dict[int, float]) -> Measured:
    random = np.random.default_rng(0)
    values = {
        "heights": np.full(_COUNT, 64),
        "widths": np.full(_COUNT, 64),
        "brightness": random.normal(120, 20, _COUNT),
        "contrast": random.normal(50, 8, _COUNT),
        "sharpness": np.exp(random.normal(-1, 0.3, _COUNT)),
    }
    for name, by_index in changed.items():
        for index, value in by_index.items():
            values[name][index] = value
    return Measured(
        ids=tuple(map(str, range(_COUNT))),
        splits=np.array(["train"] * _COUNT),
        labels=np.zeros(_COUNT, np.int64),
        grey=np.zeros([_COUNT, GREY_SIDE, GREY_SIDE], np.uint8),
        features={},
        **values,
    )


def _find(measured: Measured, far: int | None = None) -> dict[str, list[int]]:
    features = np.random.default_rng(1).normal(size=(_COUNT, 16))
    features[:, :2] += 6 * np.sign(np.arange(_COUNT) % 2 - 0.5)[:, None]  # two clouds
    if far is not None:
        features[far] = 0
        features[far, :2] = (-9, 9)
    found: dict[str, list[int]] = {}
    for one in unusual_images(measured, nearest_neighbours(features), 75):
        found.setdefault(one.kind, []).append(one.image)
    return found


def test_ordinary_images_are_left_alone():
    assert _find(_measured()) == {}


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("blank", {"contrast": {4: 1.0}}),
        ("dark", {"brightness": {4: 5.0}}),
        ("bright", {"brightness": {4: 250.0}}),
        ("blurred", {"sharpness": {4: 0.001}}),
        ("small", {"heights": {4: 20}}),
    ],
)
def test_each_kind_is_flagged(kind, changed):
    assert _find(_measured(**changed)) == {kind: [4]}


def test_an_image_unlike_all_others_is_flagged():
    assert _find(_measured(), far=9) == {"unlike all others": [9]}


def test_images_larger_than_the_networks_input_are_not_small():
    measured = _measured()
    measured.heights[:] = measured.widths[:] = 1000
    measured.heights[4] = 200  # a fifth of the median, but more than 75
    assert _find(measured) == {}
