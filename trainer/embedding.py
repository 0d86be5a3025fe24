"""How an exported model sees pictures: what its head is given, which no signature returns."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras as keras

from components import features
from components.errors import UserError
from components.progress import Advance
from trainer.classifier import restore_classifier
from trainer.settings import TrainerSettings

_CHUNK = 32  # pictures in memory at a time, as in the exported model itself
_TOLERANCE = 1e-3  # of probabilities: the same weights in the same network, rounded elsewhere


class Embedder:
    """Rebuilds the network of an exported model and fills it with that model's weights."""

    def __init__(self, model_directory: Path) -> None:
        """Raises UserError: the network of today's code is not the one that was exported."""
        path = model_directory / features.EXTRA_ASSETS / "settings.json"
        self._where = model_directory
        try:
            settings = TrainerSettings.model_validate_json(path.read_text("utf-8"))
            self._model = tf.saved_model.load(str(model_directory))
            weights = [variable.numpy() for variable in self._model.network_variables]
            classifier = restore_classifier(settings, weights)
        except (OSError, AttributeError, ValueError) as error:
            raise self._not_ours(" ".join(str(error).split())[:160]) from error
        image = classifier.network.input
        vector = image
        for part in (classifier.trunk, classifier.upper):
            vector = part(vector) if part is not None else vector
        self._network = keras.Model(image, [vector, classifier.head(vector)])

    def embed(self, encoded: Sequence[bytes], advance: Advance) -> npt.NDArray[np.float32]:
        """PNG or JPEG bytes ``[N]`` to vectors ``[N, 2048]`` (``[N, 256]`` of the small CNN).

        Raises:
          UserError: the rebuilt network does not give the exported model's answers.
        """
        vectors = []
        for start in range(0, len(encoded), _CHUNK):
            chunk = encoded[start : start + _CHUNK]
            vector, logits = self._network(self._transform(chunk), training=False)
            if not start:
                self._check(chunk, tf.nn.softmax(logits).numpy())
            vectors.append(vector.numpy())
            advance(len(chunk))
        return np.concatenate(vectors)

    def _transform(self, encoded: Sequence[bytes]) -> tf.Tensor:
        """By the Transform graph inside the exported model, ``[B, S, S, 3]`` in [-1, 1]."""
        answer = self._model.signatures["transform_features"](
            examples=tf.constant([_example(one) for one in encoded])
        )
        return answer[features.IMAGE]

    def _check(self, encoded: Sequence[bytes], probabilities: npt.NDArray[np.float32]) -> None:
        answer = self._model.signatures["predict_images"](images=tf.constant(encoded))
        difference = float(np.abs(answer[features.PROBABILITIES].numpy() - probabilities).max())
        if difference > _TOLERANCE:
            raise self._not_ours(f"its probabilities differ by {difference:.2g}")

    def _not_ours(self, reason: str) -> UserError:
        return UserError(
            "a model's features come from the network that its settings describe. "
            f"Received: {self._where} ({reason}); give a model that this version has trained"
        )


def _example(encoded: bytes) -> bytes:
    """A whole raw example around a picture: the Transform graph wants all of its keys."""
    example = tf.train.Example()
    feature = example.features.feature
    feature[features.IMAGE_ENCODED].bytes_list.value.append(encoded)
    for key in (features.IMAGE_FORMAT, features.IMAGE_ID):
        feature[key].bytes_list.value.append(b"")
    for key in (features.IMAGE_HEIGHT, features.IMAGE_WIDTH, features.LABEL):
        feature[key].int64_list.value.append(0)
    return bytes(example.SerializeToString())
