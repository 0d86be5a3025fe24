"""Groups of variables: which rate each has, and when it begins to learn."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from helpers.small_training import make_sources, settings_for, small_classifier
from inception_finetune.components.backbone.cut import trained_by_block
from inception_finetune.components.backbone.keras_network import build_network
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.trainer import model
from inception_finetune.trainer.optimizers import parameter_groups
from inception_finetune.trainer.settings import Training
from inception_finetune.trainer.step import TrainingStep


@pytest.fixture(scope="module")
def trainee():
    keras.utils.set_random_seed(0)
    network = build_network(INCEPTION_V3, 75)
    training = Training(dropout=0.0)
    classifier = model.build_classifier(
        INCEPTION_V3, network, "Mixed_7a", classes=3, fresh=False, training=training
    )
    return model.prepare_training(classifier, "float32", from_features=True)


def blocks_of(variables) -> set[str]:
    return {variable.name.split("/")[1] for variable in variables}


def test_variables_are_grouped_by_block_from_the_last_to_the_first(trainee):
    groups = trained_by_block(INCEPTION_V3, trainee.upper)
    assert [blocks_of(group) for group in groups] == [{"Mixed_7c"}, {"Mixed_7b"}, {"Mixed_7a"}]
    assert sum(map(len, groups)) == len(trainee.upper.trainable_variables)
    assert trained_by_block(INCEPTION_V3, None) == []


def test_each_block_has_its_share_of_the_rate_of_the_block_after_it(trainee):
    training = Training(layer_decay=0.5, learning_rate=0.8, schedule="constant")
    groups = parameter_groups(training, trainee, INCEPTION_V3, total_steps=10)
    rates = [float(group.optimizer.learning_rate) for group in groups]
    assert rates == pytest.approx([0.8, 0.4, 0.2, 0.1])
    assert blocks_of(groups[3].variables) == {"Mixed_7a"}


def test_one_rate_is_one_group(trainee):
    [group] = parameter_groups(Training(), trainee, INCEPTION_V3, total_steps=10)
    assert len(group.variables) == len(trainee.network.trainable_variables)


def test_the_update_of_a_block_is_its_share(trainee):
    """With SGD and one step the change is the rate times the gradient."""
    saved = trainee.network.get_weights()
    random = np.random.default_rng(0)
    batch = (
        tf.constant(random.normal(size=[4, *trainee.network.input_shape[1:]]), tf.float32),
        tf.one_hot([0, 1, 2, 0], 3),
    )
    changes = []
    for decay in (1.0, 0.5):
        training = Training(
            optimizer="sgd", momentum=0.0, layer_decay=decay, schedule="constant", dropout=0.0
        )
        trainee.network.set_weights(saved)
        before = {v.name: v.numpy() for v in trainee.network.trainable_variables}
        groups = parameter_groups(training, trainee, INCEPTION_V3, total_steps=1)
        TrainingStep(trainee, training, groups).train(batch, 0)
        after = {v.name: v.numpy() for v in trainee.network.trainable_variables}
        changes.append({name: after[name] - before[name] for name in before})
    trainee.network.set_weights(saved)
    for name, whole in changes[0].items():
        depth = {"Mixed_7c": 1, "Mixed_7b": 2, "Mixed_7a": 3}.get(name.split("/")[1], 0)
        largest = np.abs(whole).max()
        np.testing.assert_allclose(changes[1][name], whole * 0.5**depth, atol=2e-3 * largest + 1e-9)


def test_blocks_that_are_frozen_at_first_stay_to_the_last_bit_and_then_learn(tmp_path):
    """Moving statistics, too: their batch norm is in inference mode as long."""
    from inception_finetune.trainer import input_fn
    from inception_finetune.trainer.order import TrainingOrder

    training = settings_for(unfreeze_after=1, learning_rate=0.05).training
    small = model.prepare_training(small_classifier(training), "float32", from_features=True)
    groups = parameter_groups(training, small, INCEPTION_V3, total_steps=6, frozen_steps=3)
    step = TrainingStep(small, training, groups)
    source, *_ = make_sources(tmp_path)
    order = TrainingOrder(100, 1, 16, 0)
    for number, batch in enumerate(input_fn.training_batches(source, order, 0, 6, classes=3)):
        upper, head = small.upper.get_weights(), small.head.get_weights()
        step.train(batch, number)
        same = [*map(np.array_equal, small.upper.get_weights(), upper)]
        assert all(same) if number < 3 else not any(same), number
        assert not np.array_equal(small.head.get_weights()[0], head[0]) or number in (0, 5)
