"""The embedded default: scikit-learn's real digits in a CIFAR-10 archive's layout."""

import time

import numpy as np
import pytest
from sklearn.datasets import load_digits

from inception_finetune.components.dataset.archive import Archive, read_archive
from inception_finetune.components.dataset.digits import LABEL_NAMES, write_digits_archive


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Archive:
    target = tmp_path_factory.mktemp("digits") / "below" / "digits.tar.gz"
    assert write_digits_archive(target) == target
    assert [path.name for path in target.parent.iterdir()] == ["digits.tar.gz"]
    return read_archive(target)


def test_layout(digits):
    assert digits.label_names == LABEL_NAMES
    assert LABEL_NAMES[0] == "zero"
    assert LABEL_NAMES[9] == "nine"
    assert [(b.name, len(b.labels)) for b in digits.batches] == [
        ("data_batch_1", 288),
        ("data_batch_2", 288),
        ("data_batch_3", 287),
        ("data_batch_4", 287),
        ("data_batch_5", 287),
        ("test_batch", 360),
    ]
    assert {batch.images.shape[1:] for batch in digits.batches} == {(32, 32, 3)}


def test_every_digit_is_there_with_its_label(digits):
    """Each picture shrunk again is nearest to the very original that bears its label."""
    originals, labels = load_digits(return_X_y=True)
    images = np.concatenate([batch.images for batch in digits.batches])
    found = np.concatenate([batch.labels for batch in digits.batches])
    np.testing.assert_array_equal(images[..., 0], images[..., 1])
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    small = images[..., 0].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(-1, 64) * 16 / 255
    distances = (
        np.square(small).sum(1)[:, None] + np.square(originals).sum(1) - 2 * small @ originals.T
    )
    nearest = distances.argmin(axis=1)
    assert len(set(nearest)) >= 1790  # a few look so alike that the enlargement confuses them
    np.testing.assert_array_equal(labels[nearest], found)


def test_the_test_images_are_stratified(digits):
    labels = np.concatenate([batch.labels for batch in digits.batches])
    expected = np.bincount(labels) * 360 / 1797
    found = np.bincount(digits.batches[-1].labels)
    assert np.abs(found - expected).max() < 1


def test_the_same_bytes_each_time(tmp_path, monkeypatch):
    first = write_digits_archive(tmp_path / "a.tar.gz").read_bytes()
    monkeypatch.setattr(time, "time", lambda: 1e9)  # gzip and tar would note it
    assert write_digits_archive(tmp_path / "b.tar.gz").read_bytes() == first
