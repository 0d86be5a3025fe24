"""Warm-up requests are those that TensorFlow Serving reads, and the exported model answers them."""

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from inception_finetune.components import features
from inception_finetune.components.io.warm_up import FILE, read_warm_up, write_warm_up

SIGNATURES = ("serving_default", "predict_images", "predict_pixels")


def test_the_file_is_tensorflow_servings(tmp_path):
    """Its name, its place and its records: https://www.tensorflow.org/tfx/serving/saved_model_warmup."""
    write_warm_up(tmp_path, size=64, explains=True)
    assert FILE == "tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(tmp_path / FILE)).as_numpy_iterator()
    ]
    assert [log.WhichOneof("log_type") for log in logs] == ["predict_log"] * 4
    requests = [log.predict_log.request for log in logs]
    assert tuple(one.model_spec.signature_name for one in requests) == (
        *SIGNATURES,
        "explain_images",
    )
    shapes = [tuple(tf.make_ndarray(one).shape) for r in requests for one in r.inputs.values()]
    assert shapes == [(1,), (1,), (1, 64, 64, 3), (1,)]


def test_the_model_answers_each_with_the_same_probabilities(brightness_model, tmp_path):
    write_warm_up(tmp_path, size=75, explains=False)
    model = tf.saved_model.load(str(brightness_model))
    rows = {
        signature: model.signatures[signature](**inputs)[features.PROBABILITIES].numpy()
        for signature, inputs in read_warm_up(tmp_path)
    }
    assert tuple(rows) == SIGNATURES
    for row in rows.values():
        np.testing.assert_allclose(row, rows["predict_images"], atol=1e-5)


def test_a_model_without_requests_has_none(tmp_path):
    assert list(read_warm_up(tmp_path)) == []
