"""The classifier that the settings describe: untrained, or as a saved model holds it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tf_keras as keras

from inception_finetune.components.backbone.keras_network import build_network, named_variables
from inception_finetune.components.backbone.load import load_backbone
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.trainer import model
from inception_finetune.trainer.settings import TrainerSettings
from inception_finetune.trainer.warm_start import BaseModel


def make_classifier(
    settings: TrainerSettings, base_model: BaseModel | None = None
) -> model.Classifier:
    """Builds the classifier that a training starts with.

    Args:
      settings: of the training.
      base_model: whose weights replace the backbone's above the cut, and those of the new head.

    Raises:
      UserError: the backbone on disk is not the one that was configured, or `base_model` does not
        fit.
    """
    loaded = load_backbone(
        Path(settings.backbone_directory),
        network=settings.network,
        image_size=settings.image_size,
        expected_fingerprint=settings.backbone_fingerprint,
    )
    classifier = _classifier(loaded.network, settings)
    if base_model is not None:
        base_model.load_into(classifier, settings.label_names)
    return classifier


def restore_classifier(
    settings: TrainerSettings, named: Sequence[tuple[str, npt.NDArray]]
) -> model.Classifier:
    """Builds the classifier with the variables of a model whose layers Keras had named.

    Args:
      settings: those that the model was trained with.
      named: its variables, such as ``("conv2d_3/kernel:0", [3, 3, 64, 96])``. Layers of a kind are
        numbered in the order of creation, which is TF-Slim's.

    Raises:
      ValueError: they are not of such a network.
    """
    backbone = NETWORKS[settings.network]
    network = build_network(backbone, settings.image_size)
    classifier = _classifier(network, settings)
    ours = [*named_variables(backbone, network).values(), *classifier.head.weights]
    for kind in ("kernel", "bias", "beta", "moving_mean", "moving_variance"):
        values = _by_creation(kind, named)
        variables = [variable for variable in ours if _parts(variable.name)[1] == kind]
        for variable, value in zip(variables, values, strict=True):
            variable.assign(np.reshape(value, variable.shape))
    return classifier


def _by_creation(kind: str, named: Sequence[tuple[str, npt.NDArray]]) -> list[npt.NDArray]:
    """Returns a kind's variables by their layers' numbers; of other layers in the given order."""
    by_layer: dict[str, dict[int, npt.NDArray]] = {}
    for name, value in named:
        layer, last = _parts(name)
        base, _, number = layer.rpartition("_")
        if not number.isdigit():
            base, number = layer, "0"
        if last == kind:
            by_layer.setdefault(base, {})[int(number)] = value
    return [value for numbered in by_layer.values() for _, value in sorted(numbered.items())]


def _parts(variable: str) -> tuple[str, str]:
    """Returns the layer's name, and the variable's name within it."""
    layer, _, last = variable.removesuffix(":0").rpartition("/")
    return layer, last


def _classifier(network: keras.Model, settings: TrainerSettings) -> model.Classifier:
    return model.build_classifier(
        NETWORKS[settings.network],
        network,
        settings.trainable_from,
        cut_before=settings.cut_before,
        classes=len(settings.label_names),
        fresh=settings.fresh,
        training=settings.training,
    )
