"""Accuracy on kinds of pictures, where it is known which are recognised."""

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from inception_finetune.components.evaluation.slices import picture_slices
from inception_finetune.components.image.statistics import PictureStatistics, brightness_of

COUNT = 400


def made(brightness: np.ndarray) -> list[PictureStatistics]:
    """Pictures of one size, whose sharpness rises as their number does."""
    return [
        PictureStatistics(32, 32, float(level), 40.0, 1.0 + number)
        for number, level in enumerate(brightness)
    ]


def test_dark_pictures_that_are_recognised_less_come_first_and_are_called_so():
    random = np.random.default_rng(0)
    brightness = random.permutation(COUNT) / COUNT * 255
    hits = random.random(COUNT) < np.where(brightness < 60, 0.5, 0.95)
    slices = picture_slices(made(brightness), ["png"] * COUNT, hits)
    first = slices[0]
    assert (first.kind, first.rule) == ("dark", "brightness up to 63.6 of 255")
    dark = brightness <= np.quantile(brightness, 0.25)
    assert first.accuracy.images == dark.sum() == 100
    assert first.accuracy.value == hits[dark].mean() and first.others == hits[~dark].mean()
    # Of one size, one contrast and one format: four slices are left.
    assert {one.kind for one in slices} == {"dark", "bright", "blurred", "sharp"}
    table = [[hits[part].sum(), (~hits[part]).sum()] for part in (dark, ~dark)]
    assert first.p_value == pytest.approx(4 * stats.fisher_exact(table).pvalue)
    assert first.is_worse and not any(one.is_worse for one in slices[1:])
    p_values = [one.p_value for one in slices]
    assert p_values == sorted(p_values) and p_values[-1] <= 1


def test_where_all_are_alike_few_slices_are_called_worse():
    """Of 200 data sets without any difference, 5 % may have a slice that is called so."""
    random = np.random.default_rng(1)
    called = 0
    for _ in range(200):
        pictures = made(random.random(COUNT) * 255)
        formats = random.choice(["png", "jpeg"], COUNT).tolist()
        slices = picture_slices(pictures, formats, random.random(COUNT) < 0.8)
        assert len(slices) == 6
        called += any(one.p_value < 0.05 for one in slices)
    assert called <= stats.binom(200, 0.05).ppf(0.999)


def test_slices_of_few_pictures_are_left_out():
    pictures = made(np.arange(60.0))
    hits = np.arange(60) % 2 == 0
    formats = ["jpeg"] * 19 + ["png"] * 41
    assert picture_slices(pictures, formats, hits) == ()


def test_statistics_of_pixels_by_hand():
    stripes = np.zeros([40, 60, 3], np.uint8)
    stripes[:, ::2] = 200
    found = PictureStatistics.of(brightness_of(stripes))
    assert found[:4] == (40, 60, pytest.approx(100, abs=1), pytest.approx(100, abs=1))
    # The Laplacian of stripes of one pixel is 4 times their deviation: 16 times the variance.
    assert found.sharpness == pytest.approx(16, rel=0.05)
    blurred = Image.fromarray(stripes).resize((15, 10)).resize((60, 40))
    assert PictureStatistics.of(brightness_of(np.asarray(blurred))).sharpness < 1
    assert brightness_of(np.full([1, 1, 3], 255, np.uint8)).tolist() == [[255]]
