"""Blends of examples: what they are made of, and that they hang on seed, step and place alone."""

import numpy as np
import pytest
import tensorflow as tf

from helpers.small_training import make_source
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config
from inception_finetune.trainer import input_fn
from inception_finetune.trainer.mixing import Mixing, blend
from inception_finetune.trainer.order import TrainingOrder
from inception_finetune.trainer.settings import Training

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=[4, 6, 8, 3]).astype(np.float32)
TARGETS = tf.eye(4)
PAIRS = np.array([[0, 1, 2, 3], [1, 2, 3, 0]])


def test_mixup_is_the_weighted_mean_of_inputs_and_targets():
    share = np.array([0.25, 1.0, 0.5, 0.0], np.float32)
    none = np.zeros([4, 4], np.float32)
    values, targets = blend(tf.constant(INPUTS), TARGETS, PAIRS, share, np.zeros(4, bool), none)
    weight = share[:, None, None, None]
    np.testing.assert_allclose(values, weight * INPUTS + (1 - weight) * INPUTS[PAIRS[1]], atol=1e-6)
    np.testing.assert_allclose(targets[0], [0.25, 0.75, 0, 0])


def test_cutmix_takes_whole_cells_and_counts_them():
    # Rows 0-2 of 6, columns 4-7 of 8: 12 of 48 cells. The box need not lie on their edges.
    box = np.array([[0.0, 0.45, 0.5, 1.0]] * 4, np.float32)
    values, targets = blend(
        tf.constant(INPUTS), TARGETS, PAIRS, np.full(4, 0.9, np.float32), np.ones(4, bool), box
    )
    expected = INPUTS.copy()
    expected[:, :3, 4:] = INPUTS[PAIRS[1]][:, :3, 4:]
    np.testing.assert_allclose(values, expected, atol=1e-6)
    np.testing.assert_allclose(targets[3], [0.25, 0, 0, 0.75])


def test_stored_features_stay_in_their_type_and_vectors_can_be_mixed():
    vectors = tf.cast(RANDOM.normal(size=[4, 5]), tf.bfloat16)
    share, none = np.full(4, 0.5, np.float32), np.zeros([4, 4], np.float32)
    values, _ = blend(vectors, TARGETS, PAIRS, share, np.zeros(4, bool), none)
    assert values.dtype == tf.bfloat16
    mean = (vectors.numpy().astype(np.float32)[0] + vectors.numpy().astype(np.float32)[1]) / 2
    np.testing.assert_allclose(values[0].numpy().astype(np.float32), mean, atol=0.02)


def test_shares_are_of_the_beta_distribution_and_nobody_is_his_own_partner():
    plans = [Mixing(0.4, 0.0, seed=3).plan(step, 64) for step in range(200)]
    shares = np.concatenate([plan.share for plan in plans])
    # https://en.wikipedia.org/wiki/Beta_distribution: variance 1 / (4 * (2 * alpha + 1)).
    assert shares.mean() == pytest.approx(0.5, abs=0.01)
    assert shares.var() == pytest.approx(1 / (4 * 1.8), rel=0.03)
    assert not any(plan.is_cut.any() for plan in plans)
    assert all((plan.partner != np.arange(64)).all() for plan in plans)
    assert all(sorted(plan.partner) == list(range(64)) for plan in plans)


def test_boxes_have_the_area_that_is_asked_for_where_no_edge_cuts_them():
    plan = Mixing(0.0, 1.0, seed=0).plan(0, 4096)
    assert plan.is_cut.all()
    top, left, bottom, right = plan.box.T
    inner = (top > 0) & (left > 0) & (bottom < 1) & (right < 1)
    area = (bottom - top) * (right - left)
    np.testing.assert_allclose(area[inner], 1 - plan.share[inner], atol=1e-5)
    assert inner.mean() > 0.1 and (area <= 1 - plan.share + 1e-5).all()


def test_with_both_each_example_has_one_of_them():
    plan = Mixing(0.2, 1.0, seed=0).plan(0, 4096)
    assert plan.is_cut.mean() == pytest.approx(0.5, abs=0.03)
    assert plan.share[~plan.is_cut].var() > plan.share[plan.is_cut].var()


def test_a_plan_hangs_on_seed_and_step():
    plans = [
        Mixing(0.2, 1.0, seed).plan(step, 8) for seed, step in ((0, 1), (0, 1), (0, 2), (1, 1))
    ]
    shares = [plan.share.tolist() for plan in plans]
    assert shares[0] == shares[1] and len(set(map(tuple, shares))) == 3


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_the_parts_of_several_devices_are_the_batch_of_one(tmp_path, replicas):
    source = make_source(tmp_path, 40, seed=0)
    order, mixing = TrainingOrder(40, 1, batch_size=12, seed=5), Mixing(0.3, 1.0, seed=5)
    batches = input_fn.training_batches(
        source, order, 2, 5, classes=3, mixing=mixing, replicas=replicas
    )
    found = list(batches.as_numpy_iterator())
    assert len(found) == 3 * replicas
    for number, step in enumerate(range(2, 5)):
        examples, _, _ = order.batch(step)
        records = list(source.batches(40).as_numpy_iterator())[0]
        mix = mixing.plan(step, 12)
        pairs = np.stack([np.arange(12), mix.partner])
        values, targets = blend(
            tf.constant(records[0][examples]),
            tf.one_hot(records[1][examples], 3),
            pairs,
            mix.share,
            mix.is_cut,
            mix.box,
        )
        for replica in range(replicas):
            part_values, part_targets = found[number * replicas + replica]
            np.testing.assert_array_equal(part_values, values[replica::replicas])
            np.testing.assert_array_equal(part_targets, targets[replica::replicas])
            np.testing.assert_allclose(part_targets.sum(axis=1), 1, atol=1e-6)


def test_nothing_is_blended_unless_it_is_asked_for():
    assert Mixing.of(Training()) is None
    assert Mixing.of(Training(mixup=0.2, seed=7)) == Mixing(0.2, 0.0, 7)


def test_vectors_cannot_be_cut():
    with pytest.raises(UserError, match="training.cutmix must be 0 where .* is head"):
        load_config("cifar10", ["backbone.trainable_from=head", "training.cutmix=1.0"])
    load_config(
        "cifar10", ["backbone.trainable_from=head", "training.cutmix=1.0", "feature_cache=false"]
    )
