"""Random views: each kind does what it says, by numbers that the test chooses."""

import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image as Pillow
from PIL import ImageEnhance, ImageOps

from inception_finetune.components.errors import UserError
from inception_finetune.components.image import augmentation, rand_augment
from inception_finetune.components.image.augmentation import (
    AUGMENTATIONS,
    DRAWS,
    augment,
    show_views,
    stored_draws,
)
from inception_finetune.components.image.settings import Augmentation, TrainViews
from inception_finetune.components.image.views import AS_SERVED, VIEWS
from inception_finetune.pipeline.config import load_config

SIZE = 24
OFF = {
    "crop_area": 1.0,
    "flip": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "rand_augment": 0,
    "erase": 0.0,
}
EVERYTHING = Augmentation(crop_area=0.3, hue=0.1, rand_augment=2, erase=0.5)


@pytest.fixture(scope="module")
def images() -> tf.Tensor:
    """Smooth, so that resampling changes little, and other than its mirror image."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE), indexing="ij")
    one = np.stack([rows, columns, rows * columns], axis=2)
    return tf.constant(np.stack([one, one[::-1] * 0.5, one.transpose(1, 0, 2)]), tf.float32)


def drawn(kind: str, *numbers: float, images: int = 3) -> tf.Tensor:
    """One half for all numbers but those of `kind`."""
    draws = np.full([images, DRAWS], 0.5, np.float32)
    first = 0
    for name, each in AUGMENTATIONS.items():
        if name == kind:
            draws[:, first : first + len(numbers)] = numbers
        first += each.draws
    return tf.constant(draws)


def changed(images, draws, **settings) -> np.ndarray:
    return augment(images, draws, Augmentation(**{**OFF, **settings})).numpy()


def test_what_is_off_changes_nothing(images):
    random = np.random.default_rng(0).random([3, DRAWS], np.float32)
    np.testing.assert_array_equal(changed(images, tf.constant(random)), images)


def test_a_crop_keeps_its_share_at_its_place_and_the_size(images):
    # A quarter of the area, as wide as high, at the top right.
    found = changed(images, drawn("crop", 0.0, 0.5, 0.0, 1.0), crop_area=0.25)
    part = images[:1, : SIZE // 2, SIZE // 2 :]
    assert found.shape == images.shape
    rows = np.linspace(-1, 0, SIZE)
    np.testing.assert_allclose(found[0, :, 0, 0], rows, atol=0.06)
    np.testing.assert_allclose(found[0, 0, :, 1], -rows[::-1], atol=0.06)
    assert found[0].mean() == pytest.approx(float(tf.reduce_mean(part)), abs=0.03)


def test_a_crop_may_be_wider_than_high_as_the_settings_allow(images):
    found = changed(images, drawn("crop", 0.0, 1.0, 0.5, 0.5), crop_area=0.25, crop_aspect=4.0)
    # The aspect ratio is 4: all columns, and a quarter of the rows.
    np.testing.assert_allclose(found[0, 0, :, 1], np.linspace(-1, 1, SIZE), atol=0.06)
    np.testing.assert_allclose(found[0, :, 0, 0], np.linspace(-0.25, 0.25, SIZE), atol=0.06)


@pytest.mark.parametrize(("number", "is_flipped"), [(0.29, True), (0.31, False)])
def test_a_flip_has_its_chance(images, number, is_flipped):
    expected = VIEWS["flip_left_right"](images) if is_flipped else images
    np.testing.assert_array_equal(changed(images, drawn("flip", number), flip=0.3), expected)


def test_brightness_scales_the_values(images):
    found = changed(images, drawn("colour", 1.0, 0.5, 0.5, 0.5), brightness=0.4)
    expected = (images.numpy() + 1) / 2 * 1.4
    np.testing.assert_allclose((found + 1) / 2, expected.clip(0, 1), atol=1e-6)


def test_contrast_and_saturation_are_those_of_pillow(images):
    stored = np.round((images[0].numpy() + 1) * 127.5).astype(np.uint8)
    as_floats = tf.constant(stored[None] / 127.5 - 1, tf.float32)
    for setting, enhance, number in (
        ("contrast", ImageEnhance.Contrast, 0),
        ("saturation", ImageEnhance.Color, 0),
    ):
        numbers = {"contrast": (0.5, number), "saturation": (0.5, 0.5, number)}[setting]
        found = changed(as_floats, drawn("colour", *numbers, images=1), **{setting: 0.6})
        expected = np.array(enhance(Pillow.fromarray(stored)).enhance(0.4), np.float32)
        np.testing.assert_allclose((found[0] + 1) * 127.5, expected, atol=2)


def test_half_a_turn_of_the_hue_keeps_the_luma_and_turns_colours_round(images):
    found = changed(images * 0.3, drawn("colour", 0.5, 0.5, 0.5, 1.0), hue=0.5)
    luma = tf.constant([0.299, 0.587, 0.114])
    before, after = (np.tensordot(one, luma, 1) for one in (images.numpy() * 0.3, found))
    np.testing.assert_allclose(after, before, atol=2e-3)
    opposite = 2 * before[..., None] - images.numpy() * 0.3
    np.testing.assert_allclose(found, opposite, atol=5e-3)


def test_a_rectangle_is_greyed_out(images):
    # The largest area, square, in the middle of three images.
    found = changed(images - 2, drawn("erase", 0.0, 1.0, 0.5, 0.5, 0.5), erase=0.1)
    erased = found == 0
    side = round(math.sqrt(0.4) * SIZE)
    assert erased.sum() == pytest.approx(3 * 3 * side**2, rel=0.15)
    assert erased[:, SIZE // 2, SIZE // 2].all() and not erased[:, 0].any()
    np.testing.assert_array_equal(found[~erased], images.numpy()[~erased] - 2)


def test_every_view_keeps_shape_and_range_whatever_is_drawn(images):
    for seed in range(5):
        random = np.random.default_rng(seed).random([3, DRAWS], np.float32)
        seen = augment(tf.sign(images), tf.constant(random), EVERYTHING).numpy()
        assert seen.shape == images.shape and seen.dtype == np.float32
        assert np.abs(seen).max() <= 1 + 1e-6


def test_an_image_does_not_depend_on_its_neighbours(images):
    random = np.random.default_rng(1).random([3, DRAWS], np.float32)
    together = augment(images, tf.constant(random), EVERYTHING)
    for number in range(3):
        part = slice(number, number + 1)
        alone = augment(images[part], tf.constant(random[part]), EVERYTHING)
        np.testing.assert_allclose(alone, together[part], atol=1e-5)


def test_a_kind_that_is_switched_on_leaves_the_numbers_of_the_others():
    random = tf.constant(np.random.default_rng(2).random([1, DRAWS], np.float32))
    picture = tf.zeros([1, SIZE, SIZE, 3])  # crops and flips do not show in it
    plain = changed(picture, random, brightness=0.5)
    cropped = changed(picture, random, brightness=0.5, crop_area=0.5, flip=0.5)
    np.testing.assert_allclose(plain, cropped, atol=1e-5)


def test_stored_numbers_hang_on_the_example_and_the_view():
    rows = [stored_draws(key, view) for key, view in ((-5, 1), (-5, 1), (-5, 2), (6, 1))]
    assert rows[0].shape == (DRAWS,) and rows[0].dtype == np.float32
    np.testing.assert_array_equal(rows[0], rows[1])
    assert len({tuple(row) for row in rows}) == 3


def test_named_views_come_first_random_ones_last_and_validation_sees_none(images):
    views = TrainViews(views=("flip_left_right",), random_views=2, augmentation=EVERYTHING)
    random = tf.constant(np.random.default_rng(3).random([3, DRAWS], np.float32))
    seen = show_views(images, views, tf.constant([0, 2, AS_SERVED]), random)
    np.testing.assert_array_equal(seen[0], VIEWS["flip_left_right"](images)[0])
    np.testing.assert_allclose(seen[1], augment(images, random, EVERYTHING)[1], atol=1e-5)
    np.testing.assert_array_equal(seen[2], images[2])


def only(name: str, image: np.ndarray, magnitude: float, sign: float = 1.0) -> np.ndarray:
    """One operation of RandAugment on ``[S, S, 3]`` uint8."""
    which = (list(rand_augment.OPERATIONS).index(name) + 0.5) / len(rand_augment.OPERATIONS)
    draws = np.zeros([1, rand_augment.DRAWS], np.float32)
    draws[0, :2] = which, sign
    values = tf.constant(image[None] / 127.5 - 1, tf.float32)
    seen = rand_augment.apply(values, tf.constant(draws), 1, magnitude)
    return (seen[0].numpy() + 1) * 127.5


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 12, [SIZE, SIZE, 3])
    ramp = np.linspace(40, 200, SIZE)[:, None, None] + np.array([0, 20, -15])
    return (ramp + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("identity", lambda one: one),
        ("auto_contrast", ImageOps.autocontrast),
        ("solarize", lambda one: ImageOps.solarize(one, 128)),
        ("posterize", lambda one: ImageOps.posterize(one, 6)),
        ("colour", lambda one: ImageEnhance.Color(one).enhance(1.45)),
        ("contrast", lambda one: ImageEnhance.Contrast(one).enhance(1.45)),
        ("brightness", lambda one: ImageEnhance.Brightness(one).enhance(1.45)),
        ("sharpness", lambda one: ImageEnhance.Sharpness(one).enhance(1.45)),
    ],
)
def test_operations_at_half_the_magnitude_are_those_of_pillow(picture, name, theirs):
    expected = np.array(theirs(Pillow.fromarray(picture)), np.float32)
    np.testing.assert_allclose(only(name, picture, 5.0), expected, atol=2.01)


def test_equalizing_makes_levels_equally_frequent(picture):
    found = only("equalize", picture, 5.0)
    for channel in range(3):
        assert found[..., channel].min() == pytest.approx(0, abs=1e-3)
        assert found[..., channel].max() == pytest.approx(255, abs=1e-3)
        quarters = np.histogram(found[..., channel], 4, (0, 255))[0] / SIZE**2
        np.testing.assert_allclose(quarters, 0.25, atol=0.06)
    # Pillow rounds the pixels of each level down to a whole number, so there must be many.
    large = picture.repeat(8, axis=0).repeat(8, axis=1)
    theirs = np.array(ImageOps.equalize(Pillow.fromarray(large)), np.float32)
    assert np.abs(only("equalize", large, 5.0) - theirs).mean() < 2


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        (
            "rotate",
            (
                math.cos(math.pi / 12),
                -math.sin(math.pi / 12),
                math.sin(math.pi / 12),
                math.cos(math.pi / 12),
                0,
                0,
            ),
        ),
        ("shear_x", (1, 0.15, 0, 1, 0, 0)),
        ("shear_y", (1, 0, 0.15, 1, 0, 0)),
        ("translate_x", (1, 0, 0, 1, 0.165, 0)),
        ("translate_y", (1, 0, 0, 1, 0, 0.165)),
    ],
)
def test_geometric_operations_are_those_of_pillow(name, matrix):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    smooth = np.stack([rows * 8 + 20, columns * 8 + 20, (rows + columns) * 4 + 10], 2).astype(
        np.uint8
    )
    a, b, d, e, right, down = matrix
    middle = SIZE / 2
    data = (
        *(a, b, middle - a * middle - b * middle + right * SIZE),
        *(d, e, middle - d * middle - e * middle + down * SIZE),
    )
    expected = np.array(
        Pillow.fromarray(smooth).transform(
            (SIZE, SIZE), Pillow.Transform.AFFINE, data, Pillow.Resampling.BILINEAR
        ),
        np.float32,
    )
    inside = slice(6, -6)
    found = only(name, smooth, 5.0)
    np.testing.assert_allclose(found[inside, inside], expected[inside, inside], atol=2)


def test_the_sign_turns_a_rotation_round(picture):
    flat = np.full_like(picture, 90)
    flat[: SIZE // 2] = 200
    left, right = (only("rotate", flat, 10.0, sign) for sign in (0.0, 1.0))
    np.testing.assert_allclose(left, right[:, ::-1], atol=1.5)
    assert np.abs(left - right).max() > 50


def test_all_operations_are_drawn_alike():
    numbers = np.random.default_rng(0).random(14_000) * len(rand_augment.OPERATIONS)
    counts = np.bincount(numbers.astype(int), minlength=14)
    assert len(rand_augment.OPERATIONS) == 14 and counts.min() > 900


def test_settings_are_held_to_their_ranges():
    config = load_config(
        "cifar10", ["image.random_views=3", "image.views=[]", "image.augmentation.erase=0.25"]
    )
    assert config.image.train_views.count == 3
    assert config.image.train_views.augmentation.erase == 0.25
    with pytest.raises(UserError, match="train images need one view or more"):
        load_config("cifar10", ["image.views=[]"])
    with pytest.raises(UserError, match="image.augmentation.crop_area"):
        load_config("cifar10", ["image.augmentation.crop_area=0"])


def test_the_registry_names_what_is_drawn():
    assert list(AUGMENTATIONS) == ["crop", "flip", "colour", "rand_augment", "erase"]
    assert sum(kind.draws for kind in AUGMENTATIONS.values()) == DRAWS
    assert not any(kind.is_on(Augmentation(**OFF)) for kind in AUGMENTATIONS.values())
    assert all(kind.is_on(EVERYTHING) for kind in augmentation.AUGMENTATIONS.values())
