"""Accuracy on corrupted pictures: of models whose answers are known, and on the page."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from inception_finetune.components.evaluation import measures
from inception_finetune.components.image.corruptions import CORRUPTIONS, corrupt
from inception_finetune.components.robustness import page
from inception_finetune.components.robustness.measure import LabelledPicture, Robustness, measure

COUNT = 70  # more than a batch
PLACES = {"name": "made", "model": "serving/2", "other": "serving/1", "not_compared": None}


def decoded(encoded: list[bytes]) -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(one))) for one in encoded]


def light(encoded: list[bytes]) -> np.ndarray:
    """Says 1 of what is lighter than the middle."""
    return np.array([int(one.mean() > 127.5) for one in decoded(encoded)])


def always_one(encoded: list[bytes]) -> np.ndarray:
    return np.ones(len(encoded), np.int64)


@pytest.fixture(scope="module")
def pictures() -> list[LabelledPicture]:
    """Noise around levels that the first model tells apart by less and less."""
    random = np.random.default_rng(0)
    levels = np.linspace(40, 215, COUNT)
    return [
        LabelledPicture(
            f"made:{number}",
            np.clip(level + random.normal(0, 20, (16, 16, 3)), 0, 255).astype(np.uint8),
            int(level > 127.5),
        )
        for number, level in enumerate(levels)
    ]


@pytest.fixture(scope="module")
def found(pictures) -> Robustness:
    return measure(pictures, [light, always_one], PLACES, seed=3, advance=lambda n, note="": None)


def test_each_cell_is_the_accuracy_on_pictures_so_corrupted(found, pictures):
    assert [(one.corruption, one.strength) for one in found.cells] == [
        (name, strength) for name in CORRUPTIONS for strength in (1, 2, 3)
    ]
    by_cell = {(one.corruption, one.strength): one for one in found.cells}
    labels = np.array([one.label for one in pictures])
    for name, strength in (("brightness", 3), ("gaussian_noise", 1), ("fog", 2)):
        seen = [
            corrupt(one.pixels, name, strength, seed=3, identity=one.identity) for one in pictures
        ]
        hits = np.array([one.mean() > 127.5 for one in seen]) == labels
        cell = by_cell[name, strength]
        assert cell.accuracy == measures.accuracy(hits)
        assert cell.compared == measures.compare(hits, labels == 1)
    assert found.clean.value == 1.0 and by_cell["brightness", 3].accuracy.value < 0.8
    assert by_cell["fog", 3].accuracy.value < by_cell["fog", 1].accuracy.value


def test_the_mean_is_over_all_cells_and_its_interval_over_pictures(found, pictures):
    assert found.mean.value == pytest.approx(np.mean([one.accuracy.value for one in found.cells]))
    change = found.mean.value - np.mean([one.label for one in pictures])
    assert found.mean_change.value == pytest.approx(change)
    assert found.mean.low < found.mean.value < found.mean.high
    shares = np.zeros(COUNT)
    for name in CORRUPTIONS:
        for strength in (1, 2, 3):
            for place, one in enumerate(pictures):
                seen = corrupt(one.pixels, name, strength, seed=3, identity=one.identity)
                shares[place] += (int(seen.mean() > 127.5) == one.label) / 45
    interval = stats.t.interval(0.95, COUNT - 1, shares.mean(), stats.sem(shares))
    assert (found.mean.low, found.mean.high) == pytest.approx(interval)


def test_without_another_model_nothing_is_compared(pictures):
    places = {**PLACES, "other": None, "not_compared": "no version was pushed before it"}
    counted = []
    found = measure(
        pictures[:3], [light], places, seed=0, advance=lambda n, note="": counted.append(n)
    )
    assert found.mean_change is None and found.clean_compared is None
    assert all(one.compared is None for one in found.cells) and sum(counted) == 46 * 3
    text = page.render(found, pictures[0], "<dark>")
    assert "Not compared: no version was pushed before it." in text and "&lt;dark&gt;" in text


def test_the_page_shows_each_cell_with_its_sample(found, pictures):
    text = page.render(found, pictures[5], "dark")
    assert len(set(re.findall(r'src="(data:image/png[^"]*)"', text))) == 46
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    [fog] = [row for row in rows if ">fog<" in row]
    shown = [float(one) for one in re.findall(r">([\d.]+) %</b>", fog)]
    expected = [100 * one.accuracy.value for one in found.cells if one.corruption == "fog"]
    assert shown == pytest.approx(expected, abs=0.051)
    assert f"{100 * found.mean_change.value:+.1f}" in text and "http" not in text
