import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from inception_finetune.components.backbone.keras_network import build_network
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.trainer import model, optimizers
from inception_finetune.trainer.settings import Training
from inception_finetune.trainer.step import TrainingStep


def rates(training: Training, total: int) -> list[float]:
    schedule = optimizers.learning_rate(training, total)
    return [float(schedule(step)) for step in range(total + 1)]


def test_cosine_rises_linearly_then_falls_to_zero():
    found = rates(Training(learning_rate=0.1, warmup_fraction=0.1), 100)
    np.testing.assert_allclose(found[:11], np.linspace(0, 0.1, 11), atol=1e-7)
    assert found[55] == pytest.approx(0.05, abs=1e-7)  # half-way down
    assert found[100] == pytest.approx(0, abs=1e-7)


def test_cosine_without_warmup_starts_at_the_top():
    found = rates(Training(learning_rate=0.1, warmup_fraction=0), 10)
    assert found[0] == pytest.approx(0.1)


def test_constant_is_a_number():
    assert optimizers.learning_rate(Training(schedule="constant", learning_rate=1e-3), 5) == 1e-3


@pytest.fixture(scope="module")
def backbone():
    keras.utils.set_random_seed(0)
    return build_network(INCEPTION_V3, 75)


def test_only_blocks_from_the_cut_on_and_the_head_learn(backbone):
    training = Training(steps=1, epochs=None, batch_size=2)
    built = model.build_classifier(
        INCEPTION_V3, backbone, "Mixed_7c", classes=3, fresh=False, training=training
    )
    before = [weight.numpy() for weight in built.network.weights]
    images = np.random.default_rng(0).uniform(-1, 1, [4, 75, 75, 3]).astype("float32")
    trainee = model.prepare_training(built, "float32", from_features=False)
    groups = optimizers.parameter_groups(training, trainee, INCEPTION_V3, total_steps=1)
    step = TrainingStep(trainee, training, groups)
    step.train((tf.constant(images), tf.one_hot([0, 1, 2, 0], 3)), 0)
    changed = {
        weight.name
        for weight, old in zip(built.network.weights, before, strict=True)
        if not np.array_equal(weight.numpy(), old)
    }
    learning = {weight.name for part in (built.upper, built.head) for weight in part.weights}
    assert changed == learning
    assert {weight.name for weight in built.trunk.weights}.isdisjoint(changed)


def test_a_prediction_does_not_depend_on_its_neighbours(backbone):
    built = model.build_classifier(
        INCEPTION_V3, backbone, "Mixed_7c", classes=3, fresh=False, training=Training()
    )
    images = np.random.default_rng(0).uniform(-1, 1, [4, 75, 75, 3]).astype("float32")
    together = built.network(images, training=False)
    alone = built.network(images[:1], training=False)
    np.testing.assert_allclose(together[0], alone[0], atol=1e-5)


def test_the_seed_decides_the_head(backbone):
    def head(seed):
        built = model.build_classifier(
            INCEPTION_V3, backbone, "head", classes=3, fresh=False, training=Training(seed=seed)
        )
        return built.head.get_weights()[0]

    np.testing.assert_array_equal(head(1), head(1))
    assert not np.array_equal(head(1), head(2))
