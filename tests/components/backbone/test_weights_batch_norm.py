"""Batch normalisation with scale and another epsilon, moved into the convolution before it."""

import numpy as np
import pytest

from inception_finetune.components.backbone.network import BATCH_NORM_EPSILON
from inception_finetune.components.backbone.weights.batch_norm import fold_scale

GAMMA = np.asarray([1.5, -0.7, 0.0, 2.0, 1.0], np.float32)
VARIANCE = np.asarray([0.8, 0.02, 0.5, 1e-4, 0.0], np.float32)


@pytest.mark.parametrize("epsilon", [1e-3, 1e-5, 0.1])
def test_fold_scale_keeps_the_output(epsilon: float) -> None:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(7, 3))  # a 1x1 convolution is a product
    kernel = generator.normal(size=(1, 1, 3, 5)).astype(np.float32)
    beta, mean = generator.normal(size=(2, 5)).astype(np.float32)
    whole = np.sqrt(VARIANCE.astype(np.float64) + epsilon)
    expected = GAMMA * (images @ kernel[0, 0] - mean) / whole + beta

    new_kernel, new_beta, new_mean, variance = fold_scale(
        kernel, GAMMA, beta, mean, VARIANCE, epsilon
    )

    divisor = np.sqrt(variance + BATCH_NORM_EPSILON)
    answer = (images @ new_kernel[0, 0] - new_mean) / divisor + new_beta
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5)
    assert (variance >= 0).all()
    assert {array.dtype for array in (new_kernel, new_beta, new_mean, variance)} == {
        np.dtype(np.float32)
    }


def test_fold_scale_of_a_layer_like_ours_changes_nothing() -> None:
    generator = np.random.default_rng(1)
    kernel = generator.normal(size=(3, 3, 4, 5)).astype(np.float32)
    beta, mean = generator.normal(size=(2, 5)).astype(np.float32)

    ones = np.ones(5, np.float32)
    folded = fold_scale(kernel, ones, beta, mean, VARIANCE, BATCH_NORM_EPSILON)

    for array, original in zip(folded, (kernel, beta, mean, VARIANCE), strict=True):
        np.testing.assert_array_equal(array, original)


def test_fold_scale_of_an_impossible_variance_is_not_finite() -> None:
    one = np.ones(1, np.float32)
    kernel, *_ = fold_scale(one.reshape(1, 1, 1, 1), one, one, one, -2 * one, 1e-3)
    assert not np.isfinite(kernel).any()
