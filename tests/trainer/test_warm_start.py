"""What a training that starts from an earlier model begins with, and which models are refused."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.small_training import Pictures, execution, make_source, settings_for
from helpers.toy_network import TOY
from inception_finetune.components import features
from inception_finetune.components.backbone.keras_network import build_network
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.confidence import FittedConfidence
from inception_finetune.components.evaluation.learning_curve import read_history
from inception_finetune.components.warm_start import start as starts
from inception_finetune.trainer import fit, model, signatures
from inception_finetune.trainer.extra_assets import write_extra_assets
from inception_finetune.trainer.optimizers import parameter_groups
from inception_finetune.trainer.settings import TrainerSettings
from inception_finetune.trainer.step import TrainingStep
from inception_finetune.trainer.warm_start import BaseModel, read_base_model, training_identity

SIZE, CUT, FORM = 16, "Residual_3", (4, 4, 32)
TRAINED = ("cat", "dog", "owl")
FITTED = FittedConfidence(
    pictures=48,
    temperature=1.0,
    coverage=None,
    smallest_in_set=None,
    false_unknown=None,
    unknown_from=None,
)


def toy_settings(names=TRAINED, **training) -> TrainerSettings:
    return settings_for(**training).model_copy(
        update={
            "image_size": SIZE,
            "network": "toy",
            "trainable_from": CUT,
            "cut_before": CUT,
            "label_names": names,
            "backbone_fingerprint": "1234",
        }
    )


def toy_classifier(settings: TrainerSettings, seed: int) -> model.Classifier:
    """What `make_classifier` builds, without a module on disk."""
    import tf_keras as keras

    keras.utils.set_random_seed(seed)
    return model.build_classifier(
        TOY,
        build_network(TOY, SIZE),
        CUT,
        classes=len(settings.label_names),
        fresh=False,
        training=settings.training,
    )


def validate(classifier: model.Classifier, settings: TrainerSettings, validation):
    """As the loop does at the end of an epoch, before the first step."""
    trainee = model.prepare_training(classifier, "float32", from_features=True)
    groups = parameter_groups(settings.training, trainee, TOY, total_steps=10)
    return TrainingStep(trainee, settings.training, groups).validate(validation.batches(16))


@pytest.fixture(scope="module", autouse=True)
def toy_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "toy", TOY)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory, transform_at):
    """A model trained to the end with averaged weights: its folder, its classifier, its history."""
    place = tmp_path_factory.mktemp("warm start")
    sources = [make_source(place, count, seed, FORM) for count, seed in ((96, 0), (48, 1))]
    pictures = Pictures(48)
    settings = toy_settings(epochs=12, dropout=0.0, ema_momentum=0.8, batch_norm_momentum=0.8)
    classifier = toy_classifier(settings, seed=0)
    fit.fit(classifier, *sources, pictures, settings, str(place / "work"), execution(100))
    exported = place / "1"
    serving = signatures.ServingModel(
        classifier.embedding, transform_at(SIZE), TRAINED, central_crop=0.875
    )
    signatures.export(serving, str(exported))
    write_extra_assets(exported / features.EXTRA_ASSETS, settings, classifier, FITTED)
    return SimpleNamespace(
        directory=exported,
        classifier=classifier,
        validation=sources[1],
        history=read_history(f"{place}/work/logs/history.csv"),
    )


def started(trained, names=TRAINED, seed=1, **training) -> model.Classifier:
    settings = toy_settings(names, **training)
    classifier = toy_classifier(settings, seed)
    read_base_model(str(trained.directory), settings).load_into(classifier, names)
    return classifier


@pytest.mark.parametrize("training", [{}, {"ema_momentum": 0.99, "optimizer": "adamw"}])
def test_a_warm_start_begins_with_the_models_validation_accuracy(trained, training):
    settings = toy_settings(**training)
    best = max(trained.history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert best["val_accuracy"] > 0.6  # of 3 classes: it has learnt something
    cold = validate(toy_classifier(settings, seed=1), settings, trained.validation)
    warm = validate(started(trained, **training), settings, trained.validation)
    assert cold.accuracy < best["val_accuracy"]
    assert warm.accuracy == pytest.approx(best["val_accuracy"])
    assert warm.loss == pytest.approx(best["val_loss"], rel=1e-5)


def test_all_weights_above_the_cut_are_the_models_and_the_trunk_is_the_backbones(trained):
    warm = started(trained, seed=7)
    for found, expected in zip(
        [*warm.upper.weights, *warm.head.weights],
        [*trained.classifier.upper.weights, *trained.classifier.head.weights],
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected, err_msg=found.name)
    statistics = [one for one in warm.upper.weights if "moving_variance" in one.name]
    assert statistics and not all(np.allclose(one, 1) for one in statistics)
    own = toy_classifier(toy_settings(), seed=7).trunk
    for found, expected in zip(warm.trunk.weights, own.weights, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=found.name)


def test_classes_are_matched_by_name_and_only_a_new_one_has_a_fresh_row(trained):
    names = ("ant", "cat", "owl", "elk")  # dog is gone; owl stands elsewhere
    warm, fresh = started(trained, names), toy_classifier(toy_settings(names), seed=1)
    kernel, bias = (one.numpy() for one in warm.head.weights)
    known_kernel, known_bias = (one.numpy() for one in trained.classifier.head.weights)
    for row, name in enumerate(names):
        if name in TRAINED:
            place = TRAINED.index(name)
            np.testing.assert_array_equal(kernel[:, row], known_kernel[:, place], err_msg=name)
            assert bias[row] == known_bias[place] != 0
        else:
            expected = fresh.head.weights[0].numpy()[:, row]
            np.testing.assert_array_equal(kernel[:, row], expected, err_msg=name)
            assert bias[row] == 0
    base = read_base_model(str(trained.directory), toy_settings())
    start = base.start(names)
    assert (start.kept, start.added, start.dropped) == (2, ("ant", "elk"), ("dog",))
    assert start.sentence == (
        f"warm start 1 in a row, from the blessed model {trained.directory}: "
        "classes 2 kept, 2 new (ant, elk), 1 dropped (dog)"
    )


def test_generations_are_counted_by_what_lies_beside_the_model(tmp_path):
    extra = tmp_path / features.EXTRA_ASSETS
    extra.mkdir()
    assert starts.find_start(tmp_path) is None
    assert starts.next_generation(tmp_path) == 1
    start = starts.Start(model="1", generation=3, kept=2, added=(), dropped=())
    write_extra_assets(extra, toy_settings(), toy_classifier(toy_settings(), 0), FITTED, start)
    assert starts.find_start(tmp_path) == start
    assert starts.next_generation(tmp_path) == 4


def test_a_training_is_told_from_one_that_started_elsewhere(trained, tmp_path):
    settings, inputs = toy_settings(), SimpleNamespace(digests=lambda: ["a", "b"])
    base = read_base_model(str(trained.directory), settings)
    cold, warm = (training_identity(settings, inputs, one) for one in (None, base))
    assert cold == [settings.identity, "a", "b"]
    assert warm == [*cold, base.digest()]
    name = next(iter(base.variables))
    other = {**base.variables, name: base.variables[name] + 1}
    assert BaseModel(tmp_path, TRAINED, base.variables).digest() == base.digest()
    assert BaseModel(tmp_path, TRAINED, other).digest() != base.digest()
    assert BaseModel(tmp_path, TRAINED[::-1], base.variables).digest() != base.digest()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"image_size": 32}, "its image_size is 16, and that of this training is 32. Set image"),
        ({"cut_before": "Mixed_2"}, "its cut_before is Residual_3, .* Set backbone.trainable_from"),
        ({"network": "other"}, "its network is toy, and that of this training is other"),
        ({"backbone_fingerprint": "5"}, "its backbone_fingerprint is 1234, .* Set backbone.handle"),
    ],
)
def test_a_model_of_another_network_cut_or_size_is_refused(trained, changed, said):
    settings = toy_settings().model_copy(update=changed)
    with pytest.raises(UserError, match=f"No warm start from .*: {said}") as refused:
        read_base_model(str(trained.directory), settings)
    assert "\n" not in str(refused.value)


def test_a_model_that_does_not_say_what_it_is_or_lacks_a_variable_is_refused(trained, tmp_path):
    with pytest.raises(UserError, match="its network is not known"):
        read_base_model(str(tmp_path), toy_settings())
    base = read_base_model(str(trained.directory), toy_settings())
    name = next(name for name in base.variables if "Residual_3" in name)
    for variables, said in (
        ({}, "is missing"),
        ({**base.variables, name: base.variables[name][..., :1]}, r"is of shape \[.*1\], and"),
    ):
        with pytest.raises(UserError, match=f"its variable .* {said}"):
            BaseModel(tmp_path, TRAINED, variables).load_into(
                toy_classifier(toy_settings(), 0), TRAINED
            )


def test_a_cold_start_reads_nothing():
    assert read_base_model(None, toy_settings()) is None
