"""Beam's model handler for the trunk: serialized examples to trunk outputs, in batches."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler

from inception_finetune.components import features
from inception_finetune.components.backbone.compute_dtype import resolve_compute_dtype
from inception_finetune.components.backbone.network import largest_activation
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.beam.watched import advance
from inception_finetune.components.image.augmentation import DRAWS, show_views, stored_draws
from inception_finetune.components.image.undecodable import undecodable_image
from inception_finetune.components.io.record_index import identify, order_key
from inception_finetune.components.steps import Step
from inception_finetune.components.trunk_features.record import TrunkOutput
from inception_finetune.components.trunk_features.settings import TrunkSettings

_BATCH_BYTES = 720e6  # of activations that are alive at a time
_ALIVE = 4  # of the size of the largest one, which in InceptionV3 has 5.5 MB an image at 299 pixels
_FLOAT32 = 4  # bytes
_LARGEST_BATCH = 256  # images; more does not compute faster

Model = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]


class ImageView(NamedTuple):
    """A serialized raw example, and which view of its image is wanted."""

    serialized: bytes
    view: int  # number in the settings' views, or AS_SERVED


def batch_size(network: str, image_size: int) -> int:
    """Returns how many images the trunk takes in one call, so that its activations stay bounded.

    Args:
      network: a key of `NETWORKS`.
      image_size: side of the images in pixels.
    """
    image = _ALIVE * _FLOAT32 * largest_activation(NETWORKS[network], image_size)
    return int(min(_LARGEST_BATCH, max(1, _BATCH_BYTES / image)))


class TrunkHandler(ModelHandler[ImageView, TrunkOutput, Model]):
    """Loads the checked backbone once for each worker and folds its trunk."""

    def __init__(self, settings: TrunkSettings, transform_directory: str) -> None:
        size = batch_size(settings.network, settings.image_size)
        super().__init__(min_batch_size=size, max_batch_size=size)
        self._settings = settings
        self._transform_directory = transform_directory

    def load_model(self) -> Model:
        """Loads backbone and Transform graph.

        Returns:
          A function of serialized examples ``[B]``, view numbers ``[B]`` int32 and the random
          numbers of the views ``[B, DRAWS]`` to the trunk's outputs, labels and ids.

        Raises:
          UserError: the backbone does not fit, or is not the one that was configured.
        """
        import tensorflow_transform as tft

        from inception_finetune.components.backbone.load import load_backbone
        from inception_finetune.components.trunk_features.trunk import fold_trunk

        settings = self._settings
        loaded = load_backbone(
            Path(settings.backbone_directory),
            network=settings.network,
            image_size=settings.image_size,
            expected_fingerprint=settings.backbone_fingerprint,
        )
        dtype = tf.as_dtype(resolve_compute_dtype(settings.compute_dtype))
        trunk = fold_trunk(loaded.backbone, loaded.network, settings.trainable_from, dtype)
        transform = tft.TFTransformOutput(self._transform_directory)
        layer = transform.transform_features_layer()
        raw = transform.raw_feature_spec()
        needed = {
            key: raw[key] for key in (features.IMAGE_ENCODED, features.LABEL, features.IMAGE_ID)
        }

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None, DRAWS], tf.float32),
            ]
        )
        def model(
            serialized: tf.Tensor, views: tf.Tensor, draws: tf.Tensor
        ) -> dict[str, tf.Tensor]:
            parsed = tf.io.parse_example(serialized, needed)
            images = layer({features.IMAGE_ENCODED: parsed[features.IMAGE_ENCODED]})[features.IMAGE]
            return {
                features.TRUNK: trunk(show_views(images, settings.views, views, draws)),
                features.LABEL: parsed[features.LABEL],
                features.IMAGE_ID: parsed[features.IMAGE_ID],
            }

        return model

    def run_inference(
        self, batch: Sequence[ImageView], model: Model, inference_args: dict[str, Any] | None = None
    ) -> Iterable[TrunkOutput]:
        """Computes the trunk's outputs of a batch.

        Args:
          batch: examples and views, at most `batch_size` of them.
          model: as `load_model` returns it.
          inference_args: not used.

        Raises:
          UserError: an image cannot be decoded.
        """
        serialized, views = zip(*batch, strict=True)
        draws = np.zeros([len(batch), DRAWS], np.float32)
        for row, (record, view) in enumerate(batch):
            if view >= len(self._settings.views.views):
                draws[row] = stored_draws(order_key(identify(record)[0]), view)
        try:
            answer = model(tf.constant(serialized), tf.constant(views, tf.int32), draws)
        except tf.errors.InvalidArgumentError as error:
            raise undecodable_image(serialized) or error from error
        advance(len(batch))
        return [
            TrunkOutput(values, int(label), identity)
            for values, label, identity in zip(
                answer[features.TRUNK].numpy(),
                answer[features.LABEL].numpy(),
                answer[features.IMAGE_ID].numpy(),
                strict=True,
            )
        ]

    def get_metrics_namespace(self) -> str:
        """Returns the namespace of Beam's metrics."""
        return Step.TRUNK_FEATURES
