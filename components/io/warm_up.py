"""Warm-up requests of an exported model, which a server answers itself before it is ready.

https://www.tensorflow.org/tfx/serving/saved_model_warmup: TFRecords of `PredictionLog` in a file of
the model's ``assets.extra``. The first request to a signature takes many times as long as others.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from inception_finetune.components import features
from inception_finetune.components.dataset.png import encode_png

FILE: Final = "tf_serving_warmup_requests"  # as TensorFlow Serving names it


def write_warm_up(directory: Path, size: int, *, explains: bool) -> None:
    """Writes a request of one made picture for each signature that clients ask for classes.

    Args:
      directory: the model's ``assets.extra``.
      size: side of the picture in pixels: that of the network's input.
      explains: whether the model has the signature that says where it looks; a server refuses a
        model with a request for a signature that it lacks.
    """
    shade = np.linspace(0, 255, size, dtype=np.uint8)
    pixels = np.stack(np.broadcast_arrays(shade[:, np.newaxis], shade, shade[::-1]), axis=-1)
    encoded = encode_png(pixels)
    example = tf.train.Example()
    example.features.feature[features.IMAGE_ENCODED].bytes_list.value.append(encoded)
    requests = [
        ("serving_default", "examples", tf.constant([example.SerializeToString()])),
        ("predict_images", "images", tf.constant([encoded])),
        (features.PREDICT_PIXELS, features.PIXELS, tf.constant(pixels[np.newaxis])),
    ]
    if explains:
        requests.append((features.EXPLAIN_IMAGES, "images", tf.constant([encoded])))
    with tf.io.TFRecordWriter(str(directory / FILE)) as writer:
        for signature, name, value in requests:
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.signature_name = signature
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            writer.write(log.SerializeToString())


def read_warm_up(directory: Path) -> Iterator[tuple[str, dict[str, tf.Tensor]]]:
    """Yields the requests for predictions: a signature, and its inputs by name.

    Args:
      directory: the model's ``assets.extra``; models that others exported have no such file.

    Raises:
      tf.errors.DataLossError: the file is damaged.
    """
    path = directory / FILE
    if not path.is_file():
        return
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {
            name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()
        }
        yield request.model_spec.signature_name, inputs
