"""The fifteen corruptions: repeatable, of growing strength, and each of its kind."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_sample_images

from inception_finetune.components.image.corruptions import CORRUPTIONS, STRENGTHS, corrupt


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Real ones: of 32 x 32 pixels, upright, and larger."""
    china, flower = load_sample_images().images
    return [flower[100:132, 300:332], china[150:214, 300:340], flower[50:250, 200:400]]


def corrupted(picture: np.ndarray, name: str, strength: int = 3, identity: str = "a", seed=0):
    return corrupt(picture, name, strength, seed=seed, identity=identity)


def test_they_are_those_of_the_paper():
    kinds = [one.kind for one in CORRUPTIONS.values()]
    assert len(CORRUPTIONS) == 15 and STRENGTHS == (1, 2, 3)
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "noise": 3,
        "blur": 4,
        "weather": 4,
        "digital": 4,
    }


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_strength_is_farther_from_the_picture_than_the_one_before(pictures, name):
    for picture in pictures:
        found = [corrupted(picture, name, strength) for strength in STRENGTHS]
        assert all(one.shape == picture.shape and one.dtype == np.uint8 for one in found)
        distances = [np.abs(one.astype(float) - picture).mean() for one in found]
        assert distances[0] > 0.5 and (np.diff(distances) > 0).all(), distances


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_picture_is_always_corrupted_alike(pictures, name):
    picture = pictures[0]
    before = picture.copy()
    once, again = (corrupted(picture, name) for _ in range(2))
    assert np.array_equal(once, again) and np.array_equal(picture, before)
    drawn = name not in {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate"}
    drawn &= name != "jpeg_compression"
    for other in (corrupted(picture, name, identity="b"), corrupted(picture, name, seed=1)):
        assert np.array_equal(once, other) != drawn


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2)])
def test_tiny_and_plain_pictures_are_no_exception(name, shape):
    for level in (0, 128, 255):
        picture = np.full((*shape, 3), level, np.uint8)
        assert corrupted(picture, name).shape == picture.shape


def test_noise_has_the_deviation_that_is_asked_for():
    grey = np.full([200, 200, 3], 128, np.uint8)
    for strength, deviation in zip(STRENGTHS, CORRUPTIONS["gaussian_noise"].values, strict=True):
        noise = corrupted(grey, "gaussian_noise", strength) / 255
        assert noise.std() == pytest.approx(deviation, rel=0.03)
    ends = np.isin(corrupted(grey, "impulse_noise"), (0, 255)).mean()
    assert ends == pytest.approx(CORRUPTIONS["impulse_noise"].values[2], rel=0.05)


@pytest.mark.parametrize("name", ["defocus_blur", "motion_blur", "zoom_blur"])
def test_blurs_take_detail_and_leave_the_brightness(pictures, name):
    picture = pictures[2]
    found = corrupted(picture, name).astype(float)
    assert found.mean() == pytest.approx(picture.mean(), rel=0.05)
    detail = [ndimage.laplace(one.mean(axis=-1)).var() for one in (picture.astype(float), found)]
    assert detail[1] < detail[0] / 2


def test_a_defocused_point_is_a_disk_of_the_radius():
    point = np.zeros([101, 101, 3], np.uint8)
    point[50, 50] = 255
    lit = np.argwhere(corrupted(point, "defocus_blur")[..., 0] > 0)
    distances = np.hypot(*(lit - 50).T)
    assert distances.max() == pytest.approx(0.05 * 101, abs=1) and len(lit) > 60


def test_weather_makes_lighter_and_low_contrast_flatter(pictures):
    picture = pictures[2]
    for name in ("snow", "frost", "fog", "brightness"):
        assert corrupted(picture, name).mean() > picture.mean() + 15
    flat = corrupted(picture, "contrast")
    assert (flat.std(axis=(0, 1)) < 0.2 * picture.std(axis=(0, 1))).all()
    assert len(np.unique(corrupted(picture, "pixelate")[:, :, 0])) < len(np.unique(picture[..., 0]))
