"""The embedding of images by an exported model: the input of its head."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.exported_model import load_exported
from inception_finetune.components.progress import Advance
from inception_finetune.trainer.classifier import restore_classifier
from inception_finetune.trainer.settings import TrainerSettings, Training
from inception_finetune.trainer.signatures import CHUNK

_SIGNATURE = "embed_images"
_TOLERANCE = 1e-3  # of probabilities: the same weights in the same network, rounded elsewhere


class UnknownNetworkError(UserError):
    """An exported model of an older version, whose network this version cannot build."""


class Embedder:
    """Embeds images with an exported model; rebuilds the network of one without that signature."""

    def __init__(self, model_directory: Path) -> None:
        """Loads the model.

        Args:
          model_directory: folder of the SavedModel.

        Raises:
          UserError: there is no whole model.
          UnknownNetworkError: the model lacks the signature and its network cannot be rebuilt.
        """
        self._where = model_directory
        self._model = load_exported(model_directory)
        signature = self._model.signatures.get(_SIGNATURE)
        self._embed: Callable[[Sequence[bytes]], npt.NDArray[np.float32]] = (
            (lambda encoded: signature(images=tf.constant(encoded))[features.EMBEDDING].numpy())
            if signature
            else self._rebuilt()
        )

    def embed(self, encoded: Sequence[bytes], advance: Advance) -> npt.NDArray[np.float32]:
        """Embeds readable images.

        Args:
          encoded: N PNG or JPEG files' bytes.
          advance: is called after each chunk with its number of images.

        Returns:
          ``[N, features]`` float32.

        Raises:
          UnknownNetworkError: the rebuilt network does not give the exported model's answers.
        """
        vectors = []
        for start in range(0, len(encoded), CHUNK):
            chunk = encoded[start : start + CHUNK]
            vectors.append(self._embed(chunk))
            advance(len(chunk))
        return np.concatenate(vectors)

    def _rebuilt(self) -> Callable[[Sequence[bytes]], npt.NDArray[np.float32]]:
        """Builds the network that the model's settings describe, with the model's weights."""
        try:
            settings = _settings_of(self._where / features.EXTRA_ASSETS / "settings.json")
            named = [(one.name, one.numpy()) for one in self._model.network_variables]
            network = restore_classifier(settings, named).embedding
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._unknown(_one_line(error)) from error

        def embed(encoded: Sequence[bytes]) -> npt.NDArray[np.float32]:
            try:
                vector, logits = network(self._transform(encoded), training=False)
            except ValueError as error:  # it takes pictures of another size
                raise self._unknown(_one_line(error)) from error
            self._check(encoded, tf.nn.softmax(logits).numpy())
            return vector.numpy()

        return embed

    def _transform(self, encoded: Sequence[bytes]) -> tf.Tensor:
        """Applies the exported model's Transform graph: ``[B, S, S, 3]`` float32 in [-1, 1]."""
        answer = self._model.signatures["transform_features"](
            examples=tf.constant([_example(one) for one in encoded])
        )
        return answer[features.IMAGE]

    def _check(self, encoded: Sequence[bytes], probabilities: npt.NDArray[np.float32]) -> None:
        answer = self._model.signatures["predict_images"](images=tf.constant(encoded))
        difference = float(np.abs(answer[features.PROBABILITIES].numpy() - probabilities).max())
        if difference > _TOLERANCE:
            raise self._unknown(f"its probabilities differ by {difference:.2g}")

    def _unknown(self, reason: str) -> UnknownNetworkError:
        return UnknownNetworkError(
            f"Model in {self._where} has no signature {_SIGNATURE}, and its network cannot be "
            f"rebuilt: {reason}. Give a model that this version has trained."
        )


def _settings_of(path: Path) -> TrainerSettings:
    """Reads settings as another version wrote them.

    Unknown settings are ignored and missing ones have their default. Whether the result describes
    the network is checked against the model's own answers.
    """
    stored: dict[str, Any] = {"cut_before": None, "fresh": False, **json.loads(path.read_text())}
    stored.setdefault("network", "inception_v3" if stored["backbone_directory"] else "scratch_cnn")
    training = Training.model_construct(**stored.pop("training", {}))
    return TrainerSettings.model_construct(**stored, training=training)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _example(encoded: bytes) -> bytes:
    """Builds a complete raw example around an image, since the Transform graph needs all keys."""
    example = tf.train.Example()
    feature = example.features.feature
    feature[features.IMAGE_ENCODED].bytes_list.value.append(encoded)
    for key in (features.IMAGE_FORMAT, features.IMAGE_ID):
        feature[key].bytes_list.value.append(b"")
    for key in (features.IMAGE_HEIGHT, features.IMAGE_WIDTH, features.LABEL):
        feature[key].int64_list.value.append(0)
    return bytes(example.SerializeToString())
