"""One step and validation, on a network small enough to be reckoned by hand."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.trainer import model
from inception_finetune.trainer.model import Dropout
from inception_finetune.trainer.optimizers import parameter_groups
from inception_finetune.trainer.settings import Training
from inception_finetune.trainer.step import StepResult, TrainingStep

INPUTS = np.array([[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]], np.float32)
LABELS = np.array([0, 2, 1], np.int64)
TARGETS = np.eye(3, dtype=np.float32)[LABELS]
KERNEL = np.array([[0.1, -0.2, 0.3], [0.0, 0.5, -0.4]], np.float32)


def linear(class_weights=None, **training) -> TrainingStep:
    inputs = keras.Input([2])
    dense = keras.layers.Dense(3, name="logits")
    network = keras.Model(inputs, dense(inputs))
    dense.set_weights([KERNEL, np.zeros(3)])
    settings = Training(schedule="constant", **training)
    embedding = keras.Model(inputs, [inputs, network(inputs)])
    trainee = model.Trainee(network, None, network, embedding)
    groups = parameter_groups(settings, trainee, INCEPTION_V3, total_steps=10)
    return TrainingStep(trainee, settings, groups, class_weights)


def take(step: TrainingStep, targets=TARGETS) -> StepResult:
    result = step.train((tf.constant(INPUTS), tf.constant(targets)), 0)
    return StepResult(*map(float, result))


def log_probabilities() -> np.ndarray:
    logits = INPUTS @ KERNEL
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def gradient(decay: float = 0.0) -> np.ndarray:
    """Of mean cross-entropy and `decay` times half the squared kernel, by hand; [3, 3]."""
    difference = (np.exp(log_probabilities()) - np.eye(3)[LABELS]) / 3
    return np.vstack([INPUTS.T @ difference + decay * KERNEL, difference.sum(axis=0)])


def test_the_loss_is_cross_entropy_and_the_norm_that_of_its_gradient():
    found = take(linear())
    assert found.loss == pytest.approx(-log_probabilities()[range(3), LABELS].mean(), rel=1e-5)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.gradient_norm == pytest.approx(np.linalg.norm(gradient()), rel=1e-5)


def test_label_smoothing_spreads_its_share_over_all_classes():
    target = np.full([3, 3], 0.1) + np.eye(3)[LABELS] * 0.7
    expected = -(target * log_probabilities()).sum(axis=1).mean()
    assert take(linear(label_smoothing=0.3)).loss == pytest.approx(expected, rel=1e-5)


def test_weight_decay_pulls_at_kernels_and_is_not_in_the_reported_loss():
    plain, decayed = take(linear()), take(linear(weight_decay=0.5))
    assert decayed.loss == plain.loss
    assert decayed.gradient_norm == pytest.approx(np.linalg.norm(gradient(0.5)), rel=1e-5)


def test_gradients_are_clipped_together():
    step = linear(clip_norm=0.01)
    assert take(step).gradient_norm > 0.1
    [adam] = step.optimizers
    momentum = np.sqrt(sum(np.sum(np.square(m)) for m in adam._momentums))
    assert momentum == pytest.approx(0.1 * 0.01, rel=1e-4)  # Adam's (1 - beta_1) of a clipped one


def test_soft_targets_are_learned_as_they_are():
    targets = np.array([[0.7, 0.3, 0], [0, 0.5, 0.5], [0.2, 0.2, 0.6]], np.float32)
    expected = -(targets * log_probabilities()).sum(axis=1).mean()
    assert take(linear(), targets).loss == pytest.approx(expected, rel=1e-5)


def test_classes_weigh_in_the_loss_and_the_gradient():
    weights = np.array([2.0, 0.5, 1.0], np.float32)
    each = weights[LABELS]
    expected = -(each * log_probabilities()[range(3), LABELS]).mean()
    difference = each[:, None] * (np.exp(log_probabilities()) - TARGETS) / 3
    norm = np.linalg.norm(np.vstack([INPUTS.T @ difference, difference.sum(axis=0)]))
    found = take(linear(class_weights=weights))
    assert found.loss == pytest.approx(expected, rel=1e-5)
    assert found.gradient_norm == pytest.approx(norm, rel=1e-5)


def test_focal_loss_looks_away_from_what_is_known():
    chosen = log_probabilities()[range(3), LABELS]
    expected = -((1 - np.exp(chosen)) ** 2 * chosen).mean()
    assert take(linear(focal_gamma=2.0)).loss == pytest.approx(expected, rel=1e-4)


def test_nesterov_momentum_is_that_of_the_textbook():
    """https://proceedings.mlr.press/v28/sutskever13.html, looking ahead from where it stands."""
    step = linear(optimizer="sgd", momentum=0.5, learning_rate=0.1)
    [kernel, _] = step.network.trainable_variables
    first = gradient()[:2]
    take(step)
    np.testing.assert_allclose(kernel, KERNEL - 0.1 * 1.5 * first, rtol=1e-5)


def test_adamw_decays_kernels_alone_and_in_proportion_to_the_rate():
    decayed = linear(optimizer="adamw", weight_decay=0.5, learning_rate=0.01)
    plain = linear(optimizer="adamw", learning_rate=0.01)
    found, expected = take(decayed), take(plain)
    assert found.gradient_norm == expected.gradient_norm  # it is no part of the loss
    [kernel, bias] = decayed.network.trainable_variables
    [plain_kernel, plain_bias] = plain.network.trainable_variables
    np.testing.assert_allclose(kernel, plain_kernel - 0.01 * 0.5 * KERNEL, atol=1e-6)
    np.testing.assert_array_equal(bias, plain_bias)


def test_validation_sees_the_average_of_the_weights_and_training_does_not():
    step = linear(ema_momentum=0.75, learning_rate=0.1)
    [kernel, _] = step.network.trainable_variables
    take(step)
    trained = kernel.numpy()
    with step.averaged():
        np.testing.assert_allclose(kernel, 0.75 * KERNEL + 0.25 * trained, rtol=1e-5)
    np.testing.assert_array_equal(kernel, trained)


def test_validation_weighs_every_example_alike():
    batches = tf.data.Dataset.from_tensor_slices((INPUTS, LABELS)).batch(2)
    found = linear(label_smoothing=0.3).validate(batches)
    assert found.loss == pytest.approx(-log_probabilities()[range(3), LABELS].mean(), rel=1e-5)
    np.testing.assert_array_equal(found.labels, LABELS)
    np.testing.assert_array_equal(found.predictions, (INPUTS @ KERNEL).argmax(axis=1))
    assert found.accuracy == np.mean(found.predictions == LABELS)


def test_dropout_keeps_the_mean_and_its_state_can_be_put_back():
    layer = Dropout(0.25, seed=3)
    ones = tf.ones([200, 100])
    state = tf.identity(layer.generator.state)
    first = layer(ones, training=True).numpy()
    assert set(np.unique(first)) == {np.float32(0), np.float32(1 / 0.75)}
    assert first.mean() == pytest.approx(1, abs=0.02)
    assert not np.array_equal(first, layer(ones, training=True))
    layer.generator.reset(state)
    np.testing.assert_array_equal(first, layer(ones, training=True))
    np.testing.assert_array_equal(ones, layer(ones, training=False))
