"""What is held out of train: by a hash of the pixels, so that copies stay together."""

import hashlib

import numpy as np
import pytest

from inception_finetune.components.dataset.hold_out import bound, held_out, rank


def digests(count: int, name: str = "") -> list[bytes]:
    return [hashlib.sha256(f"{name}{number}".encode()).digest() for number in range(count)]


def test_a_rank_is_a_hash_of_seed_split_and_pixels():
    expected = hashlib.sha256(b"3 validation pixels").hexdigest()[:16]
    assert rank(b"pixels", "validation", 3) == int(expected, 16)


@pytest.mark.parametrize(
    ("ranks", "fraction", "below"),
    [
        ([5, 1, 3, 2, 4], 0.4, 2),
        ([5, 1, 3, 2, 4], 0.5, 2),  # round(2.5) is 2
        ([5, 1, 3, 2, 4], 0.0, 0),
        ([5, 1, 3, 2, 4], 1.0, 5),
        ([7] * 10, 0.4, 0),  # ten copies of one picture stay
        ([7] * 10, 0.9, 0),  # ... and never all of a class goes
        ([1, 1, 1, 1, 2, 3, 4, 5, 6, 7], 0.3, 4),  # four copies: nearer to 3 than none
        ([1, 1, 1, 1, 2, 3, 4, 5, 6, 7], 0.1, 0),  # ... and farther from 1
        ([1, 2, 2, 2, 2, 2], 0.5, 1),
    ],
)
def test_a_bound_holds_out_what_is_nearest_without_parting_copies(ranks, fraction, below):
    limit = bound(ranks, fraction)
    assert sum(one < limit for one in ranks) == below


def test_each_class_by_itself_and_whatever_the_order():
    pictures, labels = digests(300), np.repeat([0, 1, 2], [200, 90, 10])
    settings = {"split": "validation", "fraction": 0.1, "seed": 0}
    drawn = held_out(pictures, labels, **settings)
    assert np.bincount(labels[drawn]).tolist() == [20, 9, 1]
    order = np.random.default_rng(0).permutation(300)
    again = held_out([pictures[i] for i in order], labels[order], **settings)
    assert np.array_equal(again, drawn[order])
    other = held_out(pictures, labels, **(settings | {"seed": 1}))
    assert np.bincount(labels[other]).tolist() == [20, 9, 1]
    assert not np.array_equal(other, drawn)


def test_copies_under_two_labels_go_together():
    pictures = digests(50) * 2
    labels = np.repeat([1, 0], 50)
    drawn = held_out(pictures, labels, split="validation", fraction=0.3, seed=0)
    assert np.array_equal(drawn[:50], drawn[50:]) and drawn.sum() == 30
