"""Stored predictions: what goes in comes out, models are asked together, batches are bounded."""

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.ml.inference.base import RunInference
from apache_beam.testing.util import assert_that

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.record_index import COMPRESSION
from inception_finetune.components.test_predictions import store
from inception_finetune.components.test_predictions.handler import ExportedModels, Signatures
from inception_finetune.components.test_predictions.settings import PredictionSettings

SETTINGS = PredictionSettings(signature="serving_default", batch_size=4, code_fingerprint="")


def model(shift: int):
    """Puts all probability on the class that is `shift` after the one that the id names."""

    def signature(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        ids = [
            int(tf.train.Example.FromString(one).features.feature[features.IMAGE_ID]
                .bytes_list.value[0].rpartition(b":")[2])
            for one in examples.numpy()
        ]  # fmt: skip
        return {features.PROBABILITIES: tf.one_hot([(i + shift) % 10 for i in ids], 10)}

    return signature


class MadeModels(ExportedModels):
    """Answers without a SavedModel, and refuses a batch above the bound."""

    def load_model(self) -> Signatures:
        return Signatures({features.CANDIDATE: model(0), features.BASELINE: model(1)})

    def run_inference(self, batch, model, inference_args=None):
        if len(batch) > SETTINGS.batch_size:
            raise AssertionError(f"a batch of {len(batch)}")
        return super().run_inference(batch, model, inference_args)


def write(predictions: list[store.Prediction], directory) -> str:
    path = directory / f"Split-{features.TEST}" / "predictions-0.gz"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path), COMPRESSION) as writer:
        for prediction in predictions:
            writer.write(store.encode(prediction))
    return str(directory)


@pytest.mark.parametrize("keys", [[features.CANDIDATE], [features.CANDIDATE, features.BASELINE]])
def test_what_is_stored_is_read_back_in_the_order_of_the_ids(tmp_path, keys):
    rows = np.random.default_rng(0).dirichlet(np.ones(3), (2, len(keys))).astype(np.float32)
    predictions = [
        store.Prediction(identity, label, dict(zip(keys, row, strict=True)))
        for identity, label, row in zip((b"test:9", b"test:1"), (2, 0), rows, strict=True)
    ]
    found = store.read_predictions(write(predictions, tmp_path))
    assert found.ids == ("test:1", "test:9")
    assert found.labels.tolist() == [0, 2]
    np.testing.assert_array_equal(found.candidate, rows[::-1, 0])
    if features.BASELINE in keys:
        np.testing.assert_array_equal(found.baseline, rows[::-1, 1])
    else:
        assert found.baseline is None


def test_both_models_are_asked_about_each_image_in_bounded_batches(examples):
    ids = examples.ids

    def check(predictions):
        by_id = {prediction.id: prediction for prediction in predictions}
        assert len(by_id) == len(predictions) == 10
        for number in range(10):
            prediction = by_id[ids[number]]
            assert prediction.label == number
            shares = prediction.probabilities
            named = int(ids[number].rpartition(b":")[2])
            assert shares[features.CANDIDATE].argmax() == named
            assert shares[features.BASELINE].argmax() == (named + 1) % 10

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        answers = (
            pipeline | beam.Create(examples.serialized) | RunInference(MadeModels({}, SETTINGS, {}))
        )
        assert_that(answers, check)


def test_a_damaged_image_is_named(examples):
    def signature(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        raise tf.errors.InvalidArgumentError(None, None, "cannot decode")

    example = tf.train.Example.FromString(examples.serialized[3])
    encoded = example.features.feature[features.IMAGE_ENCODED].bytes_list
    encoded.value[0] = encoded.value[0][:40]
    batch = [examples.serialized[0], example.SerializeToString()]
    handler = ExportedModels({}, SETTINGS, {})
    message = rf"Image {examples.ids[3].decode()} \(40 bytes\) is not a whole PNG or JPEG"
    with pytest.raises(UserError, match=message):
        list(handler.run_inference(batch, Signatures({features.CANDIDATE: signature})))


def test_it_is_noted_whether_the_candidates_set_holds_the_truth(examples, tmp_path):
    """Of images 0 and 1, and 7: the others' sets are the class of the next number."""

    def with_sets(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        sets = np.eye(10, dtype=bool)
        sets[2:] = np.roll(sets[2:], 1, axis=1)
        sets[7, 7] = True
        numbers = [
            tf.train.Example.FromString(one).features.feature[features.LABEL].int64_list.value[0]
            for one in serialized.numpy()
        ]
        return {**model(0)(examples=serialized), features.IN_SET: tf.constant(sets[numbers])}

    handler = ExportedModels({}, SETTINGS, {})
    models = Signatures({features.CANDIDATE: lambda examples: with_sets(examples)})
    found = list(handler.run_inference(examples.serialized, models))
    assert [one.label for one in found if one.covered] == [0, 1, 7]
    assert all(one.covered is False for one in found if one.label not in (0, 1, 7))
    stored = [tf.train.Example.FromString(store.encode(one)).features.feature for one in found]
    assert sum(one[features.CANDIDATE_COVERED].int64_list.value[0] for one in stored) == 3
    plain = handler.run_inference(examples.serialized, Signatures({features.CANDIDATE: model(0)}))
    assert all(one.covered is None for one in plain)
    assert (
        features.CANDIDATE_COVERED
        not in tf.train.Example.FromString(
            store.encode(found[0]._replace(covered=None))
        ).features.feature
    )


def test_a_model_that_numbers_its_classes_otherwise_is_put_into_the_candidates_order(examples):
    reversed_order = list(reversed(range(10)))
    handler = ExportedModels({}, SETTINGS, {features.BASELINE: reversed_order})
    models = Signatures({features.CANDIDATE: model(0), features.BASELINE: model(0)})
    for prediction in handler.run_inference(examples.serialized, models):
        named = int(prediction.id.rpartition(b":")[2])
        assert prediction.probabilities[features.CANDIDATE].argmax() == named
        assert prediction.probabilities[features.BASELINE].argmax() == 9 - named
