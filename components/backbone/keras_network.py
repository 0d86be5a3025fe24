"""Keras' InceptionV3 and TF-Slim's names for its layers. Imports Keras when a network is built."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from components.backbone.network import convolutions, keras_number, variables_of

if TYPE_CHECKING:
    import tf_keras as keras


class ScopedLayer(NamedTuple):
    """A convolution and its batch normalisation, with the TF-Slim scope they stand for."""

    scope: str
    convolution: "keras.layers.Conv2D"
    batch_normalization: "keras.layers.BatchNormalization"


def build_network(image_size: int, batch_norm_momentum: float) -> "keras.Model":
    """An InceptionV3 without its top, `[B, S, S, 3] float32 in [-1, 1]` to `[B, 2048] float32`."""
    import tf_keras as keras

    network = keras.applications.InceptionV3(
        weights=None,
        include_top=False,
        pooling="avg",
        input_shape=(image_size, image_size, 3),
    )
    for layer in scoped_layers([network]):
        layer.batch_normalization.momentum = batch_norm_momentum
    return network


def scoped_layers(models: Iterable["keras.Model | None"]) -> list[ScopedLayer]:
    """The 94 convolutions of a network, or of the parts that it was cut into, by creation order.

    Keras numbers layers as it creates them, and it creates them in TF-Slim's order.
    """
    import tf_keras as keras

    layers = {layer.name: layer for model in models if model is not None for layer in model.layers}

    def numbered(kind: type) -> list["keras.layers.Layer"]:
        found = [layer for layer in layers.values() if isinstance(layer, kind)]
        return sorted(found, key=lambda layer: keras_number(layer.name))

    return [
        ScopedLayer(*row)
        for row in zip(
            convolutions(),
            numbered(keras.layers.Conv2D),
            numbered(keras.layers.BatchNormalization),
            strict=True,
        )
    ]


def fill(network: "keras.Model", values: Mapping[str, np.ndarray]) -> None:
    """Sets all variables from arrays under TF-Slim's names."""
    kernels = convolutions()
    for scope, convolution, batch_normalization in scoped_layers([network]):
        kernel, *statistics = (
            values[variable.name] for variable in variables_of(scope, kernels[scope])
        )
        convolution.set_weights([kernel])
        batch_normalization.set_weights(statistics)  # beta, moving mean, moving variance
