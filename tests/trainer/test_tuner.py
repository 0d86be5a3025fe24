"""The search itself; that its values reach the Trainer is a test of the whole pipeline."""

from contextlib import ExitStack

import keras_tuner
import pytest
import tensorflow as tf

from helpers.small_training import execution, settings_for
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config
from inception_finetune.trainer import tuner
from inception_finetune.trainer.examples import TrainerInputs
from inception_finetune.trainer.settings import Tuning, apply_hyperparameters


@pytest.fixture
def settings():
    return settings_for(learning_rate=0.01, dropout=0.4)


def test_rates_are_drawn_on_a_log_scale_within_their_bounds(settings):
    space = tuner.search_space(Tuning(trials=1, learning_rate=(1e-4, 1e-2)), settings)
    rate = space.space[0]
    assert (rate.name, rate.prob_to_value(0.0)) == ("learning_rate", pytest.approx(1e-4))
    assert rate.prob_to_value(0.5) == pytest.approx(1e-3)
    assert space.values["trainable_from"] == "Mixed_7a"


def test_tuned_values_replace_the_configured_ones_and_no_others(settings):
    tuned = {
        "learning_rate": 0.002,
        "weight_decay": 4e-5,
        "label_smoothing": 0.1,
        "trainable_from": "Mixed_7c",
    }
    found = apply_hyperparameters(settings, tuned)
    assert found.trainable_from == "Mixed_7c" and found.cut_before == "Mixed_7a"
    assert found.training.dropout == 0.4 and found.training.epochs == settings.training.epochs
    assert (found.training.learning_rate, found.training.weight_decay) == (0.002, 4e-5)
    assert found.training.label_smoothing == 0.1


def test_any_setting_of_a_training_can_be_searched(settings):
    config = load_config("cifar10", ["tuning.choices={layer_decay: [0.7, 1.0], optimizer: [sgd]}"])
    space = tuner.search_space(config.tuning, settings)
    assert {
        one.name: list(one.values) for one in space.space if one.name in config.tuning.choices
    } == {
        "layer_decay": [0.7, 1.0],
        "optimizer": ["sgd"],
    }
    values = {"layer_decay": 0.7, "optimizer": "sgd", "trainable_from": "Mixed_7a"}
    found = apply_hyperparameters(settings, values).training
    assert (found.layer_decay, found.optimizer) == (0.7, "sgd")


@pytest.mark.parametrize(
    ("choices", "line"),
    [
        ("{rate: [1]}", "choices names rate, which is no setting of training"),
        ("{seed: [1]}", "choices names seed"),
        ("{mixup: []}", "no values for mixup"),
        ("{layer_decay: [2.0]}", "layer_decay"),
    ],
)
def test_what_no_training_has_cannot_be_searched(choices, line):
    with pytest.raises(UserError, match=line):
        load_config("cifar10", [f"tuning.choices={choices}"])


def test_blocks_below_the_stored_features_cannot_be_tuned():
    with pytest.raises(UserError, match="must name blocks from backbone.trainable_from=Mixed_7b"):
        load_config(
            "cifar10", ["backbone.trainable_from=Mixed_7b", "tuning.trainable_from=[Mixed_7a]"]
        )
    load_config("cifar10", ["tuning.trainable_from=[Mixed_7a, Mixed_7c, head]"])


def test_a_trial_that_fails_stops_the_search(settings, tmp_path):
    search = tuner.FeatureTuner(
        tuner.TunerSettings(trainer=settings, tuning=Tuning(trials=2), code_fingerprint=""),
        TrainerInputs(None, None, None),
        tf.distribute.get_strategy(),
        str(tmp_path / "trials"),
        execution(),
        working_directory=str(tmp_path),
    )
    resources = ExitStack()
    ended = []
    resources.callback(ended.append, True)
    with pytest.raises(keras_tuner.errors.FatalError):
        search.search(resources=resources)
    assert ended == [True]
