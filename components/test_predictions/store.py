"""A prediction as a `tf.train.Example`, and all those of an artifact as arrays."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.record_index import COMPRESSION


class Prediction(NamedTuple):
    """Of one image; `probabilities` are ``[classes]`` float32 by feature key."""

    id: bytes
    label: int  # the truth
    probabilities: dict[str, npt.NDArray[np.float32]]
    unknown: bool | None = None  # what the candidate calls it; None where it does not say
    covered: bool | None = None  # whether its prediction set holds the truth; None without sets


class Predictions(NamedTuple):
    """Of all test images, in the order of their ids."""

    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]  # [N], the truth
    candidate: npt.NDArray[np.float32]  # [N, classes], rows sum to 1
    baseline: npt.NDArray[np.float32] | None  # the same of the last blessed model, if there was one
    unknown: npt.NDArray[np.bool_] | None = None  # [N], as the candidate says, where it does


def encode(prediction: Prediction) -> bytes:
    """The serialized Example: id, label, and each model's probabilities."""
    example = tf.train.Example()
    feature = example.features.feature
    feature[features.IMAGE_ID].bytes_list.value.append(prediction.id)
    feature[features.LABEL].int64_list.value.append(prediction.label)
    for key, probabilities in prediction.probabilities.items():
        feature[key].float_list.value.extend(probabilities)
    if prediction.unknown is not None:
        feature[features.CANDIDATE_UNKNOWN].int64_list.value.append(prediction.unknown)
    if prediction.covered is not None:
        feature[features.CANDIDATE_COVERED].int64_list.value.append(prediction.covered)
    return bytes(example.SerializeToString())


def read_predictions(uri: str) -> Predictions:
    """All that TestPredictions wrote to its artifact at `uri`.

    Raises:
      UserError: nothing is there.
    """
    files = sorted(tf.io.gfile.glob(f"{uri}/Split-{features.TEST}/*"))
    records = tf.data.TFRecordDataset(files, COMPRESSION)
    rows = sorted(map(_decode, records.as_numpy_iterator()), key=lambda row: row.id)
    if not rows:
        raise UserError(f"No predictions in {uri}: its files were removed. Run again.")
    arrays = {
        key: np.stack([row.probabilities[key] for row in rows])
        for key in (features.CANDIDATE, features.BASELINE)
        if key in rows[0].probabilities
    }
    return Predictions(
        tuple(row.id.decode() for row in rows),
        np.array([row.label for row in rows], np.int64),
        arrays[features.CANDIDATE],
        arrays.get(features.BASELINE),
        None if rows[0].unknown is None else np.array([row.unknown for row in rows], np.bool_),
    )


def _decode(record: bytes) -> Prediction:
    feature = tf.train.Example.FromString(record).features.feature
    return Prediction(
        feature[features.IMAGE_ID].bytes_list.value[0],
        feature[features.LABEL].int64_list.value[0],
        {
            key: np.array(feature[key].float_list.value, np.float32)
            for key in (features.CANDIDATE, features.BASELINE)
            if key in feature
        },
        _flag(feature, features.CANDIDATE_UNKNOWN),
        _flag(feature, features.CANDIDATE_COVERED),
    )


def _flag(feature: Mapping[str, Any], key: str) -> bool | None:
    return bool(feature[key].int64_list.value[0]) if key in feature else None
