"""The classifier that settings ask for: untrained, or as a saved model holds it."""

from collections.abc import Sequence
from pathlib import Path

import numpy.typing as npt
import tf_keras as keras

from components.backbone.keras_network import build_network
from components.backbone.load import load_backbone
from trainer import model
from trainer.settings import TrainerSettings
from trainer.small_cnn import build_small_cnn


def make_classifier(settings: TrainerSettings) -> model.Classifier:
    """With the backbone's weights where there is one.

    Raises:
      UserError: the backbone on disk is not the one that was configured.
    """
    if not settings.backbone_directory:
        return _classifier(_small_cnn(settings), settings)
    backbone = load_backbone(
        Path(settings.backbone_directory),
        image_size=settings.image_size,
        batch_norm_momentum=settings.training.batch_norm_momentum,
        expected_fingerprint=settings.backbone_fingerprint,
    )
    return _classifier(backbone.network, settings)


def restore_classifier(
    settings: TrainerSettings, weights: Sequence[npt.NDArray]
) -> model.Classifier:
    """With the weights of the network that these settings once made; needs no backbone.

    Raises:
      ValueError: they are not of such a network.
    """
    network = (
        build_network(settings.image_size, settings.training.batch_norm_momentum)
        if settings.backbone_directory
        else _small_cnn(settings)
    )
    classifier = _classifier(network, settings)
    classifier.network.set_weights(weights)
    return classifier


def _small_cnn(settings: TrainerSettings) -> keras.Model:
    return build_small_cnn(settings.image_size, settings.training.seed)


def _classifier(network: keras.Model, settings: TrainerSettings) -> model.Classifier:
    return model.build_classifier(
        network,
        settings.trainable_from,
        cut_before=settings.cut_before,
        classes=len(settings.label_names),
        fresh=settings.fresh,
        training=settings.training,
    )
