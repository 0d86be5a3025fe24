"""What is fitted to a trained network's answers is fitted to its validation examples."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from helpers.small_training import execution, make_sources, settings_for, small_classifier
from inception_finetune.components.evaluation import confidence as fits
from inception_finetune.trainer import fit
from inception_finetune.trainer.confidence import UNFITTED, fit_confidence
from inception_finetune.trainer.settings import ConfidenceSection


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained network, its sources, and the validation examples' inputs and labels."""
    sources = make_sources(tmp_path_factory.mktemp("features"))
    settings = settings_for(epochs=6)
    directory = tmp_path_factory.mktemp("run")
    trainee = fit.fit(
        small_classifier(settings.training), *sources, settings, str(directory), execution(100)
    )
    [(inputs, labels)] = list(sources[1].batches(40))
    return trainee, sources, inputs, labels.numpy()


def test_it_is_fitted_to_the_answers_to_the_validation_examples(trained):
    trainee, sources, inputs, labels = trained
    vectors, logits = trainee.embedding(inputs, training=False)
    said, facts = fit_confidence(trainee, *sources[:2], settings_for())
    logits = tf.cast(logits, tf.float64).numpy()
    temperature = fits.fit_temperature(logits, labels)
    assert said.temperature == pytest.approx(temperature, rel=1e-3) != 1.0
    of_truth = special.softmax(logits / temperature, axis=1)[np.arange(40), labels]
    # 90 % of 41: the 37th of 40.
    assert said.smallest_in_set == pytest.approx(np.sort(of_truth)[3], rel=1e-3)
    distances = said.novelty.distances(vectors.numpy())
    assert said.novelty.threshold == pytest.approx(np.sort(distances)[38], rel=1e-3)
    assert facts.model_dump() == {
        "pictures": 40,
        "temperature": said.temperature,
        "coverage": 0.9,
        "smallest_in_set": said.smallest_in_set,
        "false_unknown": 0.05,
        "unknown_from": said.novelty.threshold,
    }


def test_what_is_not_asked_for_is_not_fitted(trained):
    trainee, sources, *_ = trained
    nothing = ConfidenceSection(temperature=False, coverage=None, false_unknown=None)
    settings = settings_for().model_copy(update={"confidence": nothing})
    said, facts = fit_confidence(trainee, *sources[:2], settings)
    assert said == UNFITTED
    assert (facts.coverage, facts.false_unknown, facts.unknown_from) == (None, None, None)
