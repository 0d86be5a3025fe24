"""A backbone as a Keras network whose layers have TF-Slim's names. Imports Keras when it is built.

A convolution's layer has the name of its scope, such as ``InceptionV3/Conv2d_1a_3x3``; its batch
normalisation that and ``/BatchNorm``; the layer that ends a block the block's name.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from inception_finetune.components.backbone.blocks import Block, Convolution, Pooling, Residual
from inception_finetune.components.backbone.network import (
    BATCH_NORM_EPSILON,
    CHANNELS,
    Backbone,
    walk,
)

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras as keras

FEATURE_VECTOR: Final = "global_average"  # the layer that ends every network
_BATCH_NORM = "/BatchNorm"


def build_network(backbone: Backbone, image_size: int) -> "keras.Model":
    """Builds a network with random weights.

    Args:
        backbone: the network's table.
        image_size: side of the images in pixels.

    Returns:
        A model of ``[B, S, S, 3]`` float32 in [-1, 1] to ``[B, features]`` float32.
    """
    import tf_keras as keras

    images = keras.Input([image_size, image_size, CHANNELS])
    output = walk(backbone, backbone.blocks, images, _Layers())
    vector = keras.layers.GlobalAveragePooling2D(name=FEATURE_VECTOR)(output)
    return keras.Model(images, vector, name=backbone.name)


class _Layers:
    """Operations on Keras' symbolic tensors ``[B, h, w, channels]``."""

    def convolve(
        self, scope: str, convolution: Convolution, value: "keras.KerasTensor"
    ) -> "keras.KerasTensor":
        from tf_keras import layers

        settings = {
            "filters": convolution.filters,
            "kernel_size": convolution.kernel or tuple(value.shape[1:3]),
            "strides": convolution.stride,
            "padding": convolution.padding.lower(),
            "use_bias": convolution.has_bias,
            "name": scope,
        }
        if convolution.depth_multiplier:
            layer = layers.SeparableConv2D(
                depth_multiplier=convolution.depth_multiplier, **settings
            )
        else:
            layer = layers.Conv2D(**settings)
        value = layer(value)
        if not convolution.has_bias:
            value = layers.BatchNormalization(
                scale=False,
                epsilon=BATCH_NORM_EPSILON,
                name=scope + _BATCH_NORM,
            )(value)
        return layers.ReLU(name=f"{scope}/Relu")(value) if convolution.relu else value

    def pool(self, pooling: Pooling, value: "keras.KerasTensor") -> "keras.KerasTensor":
        from tf_keras import layers

        kind = layers.MaxPooling2D if pooling.kind == "MAX" else layers.AveragePooling2D
        return kind(pooling.size, pooling.stride, pooling.padding.lower())(value)

    def concatenate(self, values: "list[keras.KerasTensor]") -> "keras.KerasTensor":
        from tf_keras import layers

        return layers.Concatenate()(values)

    def add(
        self, value: "keras.KerasTensor", update: "keras.KerasTensor", residual: Residual
    ) -> "keras.KerasTensor":
        from tf_keras import layers

        value = layers.Add()([value, layers.Rescaling(residual.scale)(update)])
        return layers.ReLU()(value) if residual.relu else value

    def end_block(self, block: Block, value: "keras.KerasTensor") -> "keras.KerasTensor":
        from tf_keras import layers

        return layers.Identity(name=block.name)(value)


def set_batch_norm_momentum(network: "keras.Model", momentum: float) -> None:
    """Sets the momentum of all moving statistics of a network.

    Args:
        network: is changed in place.
        momentum: share of the old value that each training step keeps, in [0, 1].
    """
    from tf_keras import layers

    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = momentum


def block_output(network: "keras.Model", block: Block) -> "keras.KerasTensor":
    """Returns the symbolic output of a block."""
    return network.get_layer(block.name).output


class ScopedLayers(NamedTuple):
    """A convolution of the table and its Keras layers."""

    scope: str
    convolution: Convolution
    layers: "tuple[keras.layers.Layer, ...]"  # the convolution; its batch normalisation, if any

    @property
    def variables(self) -> "dict[str, tf.Variable]":
        """Variables by TF-Slim name; Keras creates them in TF-Slim's order."""
        weights = [weight for layer in self.layers for weight in layer.weights]
        names = [f"{self.scope}/{suffix}" for suffix in self.convolution.suffixes]
        return dict(zip(names, weights, strict=True))


def scoped_layers(backbone: Backbone, models: "Iterable[keras.Model | None]") -> list[ScopedLayers]:
    """Lists the convolutions of a network, or of its parts, in order of creation."""
    layers = {layer.name: layer for model in models if model is not None for layer in model.layers}
    rows = []
    for scope, convolution in backbone.convolutions.items():
        names = [scope] if convolution.has_bias else [scope, scope + _BATCH_NORM]
        if scope in layers:
            rows.append(ScopedLayers(scope, convolution, tuple(layers[name] for name in names)))
    return rows


def named_variables(backbone: Backbone, network: "keras.Model") -> "dict[str, tf.Variable]":
    """Returns all variables of a network by TF-Slim name, in TF-Slim's order."""
    return {
        name: variable
        for row in scoped_layers(backbone, [network])
        for name, variable in row.variables.items()
    }


def fill(backbone: Backbone, network: "keras.Model", values: Mapping[str, np.ndarray]) -> None:
    """Sets all variables of a network.

    Args:
        backbone: the network's table.
        network: is changed in place.
        values: arrays by TF-Slim name.
    """
    for name, variable in named_variables(backbone, network).items():
        variable.assign(values[name])
