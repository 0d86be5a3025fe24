"""Every block's output for a sample of images, in one pass of the network."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.components.backbone.blocks import Block
from inception_finetune.components.backbone.forward import global_average, run_blocks
from inception_finetune.components.backbone.load import LoadedBackbone
from inception_finetune.components.image.settings import Image
from inception_finetune.components.image.transform import preprocessing_fn
from inception_finetune.components.image.undecodable import undecodable_image
from inception_finetune.components.progress import Advance
from inception_finetune.components.trunk_features.handler import batch_size
from inception_finetune.components.trunk_features.trunk import Trunk, folded_convolution


class Examples(NamedTuple):
    """Serialized raw examples, as the conversion writes them, and their labels ``[N]`` int64."""

    serialized: tuple[bytes, ...]
    encoded: tuple[bytes, ...]
    labels: npt.NDArray[np.int64]


class BlockOutputs(NamedTuple):
    """Mean of each block's output over all positions, and what computing it cost."""

    values: dict[str, npt.NDArray[np.float32]]
    seconds: dict[str, float]  # that the block itself took, of all pictures
    transform_seconds: float  # to decode, crop, resize and scale them


def read_examples(serialized: Sequence[bytes]) -> Examples:
    """Parses records that the conversion wrote."""
    encoded, labels = [], []
    for record in serialized:
        feature = tf.train.Example.FromString(record).features.feature
        encoded.append(feature[features.IMAGE_ENCODED].bytes_list.value[0])
        labels.append(feature[features.LABEL].int64_list.value[0])
    return Examples(tuple(serialized), tuple(encoded), np.array(labels, np.int64))


def block_outputs(
    loaded: LoadedBackbone, examples: Examples, image: Image, dtype: tf.DType, advance: Advance
) -> BlockOutputs:
    """Runs the folded network over the images, a batch and a block at a time.

    Images are transformed by Transform's own function, and blocks folded as TrunkFeatures folds
    them. The mean over all positions is what the network itself takes of its last block. Memory
    holds one block's output of one batch, and all means: ``4 * N * sum(channels)`` bytes.

    Args:
      loaded: the network, for images of `image.size`.
      examples: N images.
      image: how images are cropped and resized.
      dtype: of the convolutions; means are taken in float32.
      advance: is called after each batch with its number of images.

    Raises:
      UserError: an image cannot be decoded.
    """
    backbone, count = loaded.backbone, len(examples.labels)
    transform = encoded_transform(image)
    blocks = compiled_blocks(loaded, dtype, backbone.blocks)
    values: dict[str, npt.NDArray[np.float32]] = {}
    seconds = dict.fromkeys(blocks, 0.0)
    transform_seconds = 0.0
    size = batch_size(backbone.name, image.size)
    for start in range(0, count, size):
        batch = slice(start, start + size)
        started = time.monotonic()
        try:
            value = transform(tf.constant(examples.encoded[batch]))
        except tf.errors.InvalidArgumentError as error:
            raise undecodable_image(examples.serialized[batch]) or error from error
        value = tf.cast(value, dtype)
        transform_seconds += time.monotonic() - started
        for block in backbone.blocks:
            started = time.monotonic()
            value = blocks[block.name](value)
            pooled = global_average(tf.cast(value, tf.float32)).numpy()  # waits for the block
            seconds[block.name] += time.monotonic() - started
            block_means = values.setdefault(
                block.name, np.empty([count, pooled.shape[1]], np.float32)
            )
            block_means[batch] = pooled
        advance(len(examples.encoded[batch]))
    return BlockOutputs(values, seconds, transform_seconds)


def encoded_transform(image: Image) -> Trunk:
    """Returns Transform's own function from ``[B]`` encoded images to ``[B, S, S, 3]`` float32."""
    settings = {"size": image.size, "central_crop": image.central_crop}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def transform(encoded: tf.Tensor) -> tf.Tensor:
        raw = {
            features.IMAGE_ENCODED: encoded,
            features.LABEL: tf.zeros(tf.shape(encoded), tf.int64),
        }
        return preprocessing_fn(raw, settings)[features.IMAGE]

    return transform


def compiled_blocks(
    loaded: LoadedBackbone, dtype: tf.DType, blocks: Sequence[Block]
) -> dict[str, Trunk]:
    """Returns a traced function for each block, so that no measured call includes tracing.

    Args:
      loaded: the network.
      dtype: of the convolutions.
      blocks: the first ones of the network, in order.
    """
    convolution = folded_convolution(loaded.backbone, loaded.network, dtype)
    functions: dict[str, Trunk] = {}
    shape = [None, *loaded.network.input_shape[1:]]
    for block in blocks:

        def run(value: tf.Tensor, block=block) -> tf.Tensor:
            return run_blocks(loaded.backbone, [block], value, convolution)

        function = tf.function(run).get_concrete_function(tf.TensorSpec(shape, dtype))
        functions[block.name] = function
        shape = [None, *function.outputs[0].shape[1:]]
    return functions
