"""What is looked at of each image: its size, statistics, a small grey copy, and its features."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image as PillowImage

from inception_finetune.components import features
from inception_finetune.components.backbone.forward import global_average
from inception_finetune.components.backbone.load import LoadedBackbone
from inception_finetune.components.backbone.network import Backbone, sizes
from inception_finetune.components.backbone_comparison.block_outputs import (
    compiled_blocks,
    encoded_transform,
)
from inception_finetune.components.drift.records import read_records
from inception_finetune.components.image.decoding import decode
from inception_finetune.components.image.settings import Image
from inception_finetune.components.image.statistics import PictureStatistics, brightness_of
from inception_finetune.components.progress import Advance
from inception_finetune.components.trunk_features.handler import batch_size

GREY_SIDE: Final = 40  # pixels of the small copies
_EARLY: Final = 16  # share of the image's side that copies' features still have


class Measured(NamedTuple):
    """N images, by index; nothing of their full size is kept."""

    ids: tuple[str, ...]
    splits: npt.NDArray[np.str_]  # [N]
    labels: npt.NDArray[np.int64]  # [N]
    heights: npt.NDArray[np.int64]  # [N], pixels
    widths: npt.NDArray[np.int64]  # [N], pixels
    brightness: npt.NDArray[np.float32]  # [N], mean, 0 to 255
    contrast: npt.NDArray[np.float32]  # [N], standard deviation of brightness
    sharpness: npt.NDArray[np.float32]  # [N], variance of the Laplacian over that of brightness
    grey: npt.NDArray[np.uint8]  # [N, GREY_SIDE, GREY_SIDE], brightness of the squeezed image
    features: dict[str, npt.NDArray[np.float32]]  # block -> [N, channels], means over positions


def early_block(backbone: Backbone, image_size: int) -> str:
    """Returns the first block whose output has a sixteenth of the image's side, or less.

    Copies resemble each other most there: of 356 altered copies of CIFAR-10's images (JPEG, crops,
    shifts, brightness, size) all but two had their original among the five nearest at InceptionV3's
    Mixed_6a, at 75 pixels; at Mixed_7c 45 % of them.

    Args:
      backbone: the network's table.
      image_size: side of its images in pixels.
    """
    for name, size in sizes(backbone, image_size).items():
        if size.height * _EARLY <= image_size:
            return name
    return backbone.blocks[-1].name


def measure(
    records: Mapping[str, Sequence[Path]],
    loaded: LoadedBackbone,
    image: Image,
    blocks: Sequence[str],
    dtype: tf.DType,
    chosen: npt.NDArray[np.bool_],
    advance: Advance,
) -> Measured:
    """Measures images of converted records, in one pass of the network.

    Memory holds one batch of images, and of each image 1.6 KB and its features.

    Args:
      records: TFRecord files by split.
      loaded: the network, for images of `image.size`.
      image: how images are cropped and resized for it.
      blocks: whose outputs are kept.
      dtype: of the convolutions.
      chosen: ``[all]``, which images are looked at, in the order of the files.
      advance: is called after each batch with its number of images.

    Raises:
      UserError: a file is damaged.
    """
    names = [block.name for block in loaded.backbone.blocks]
    needed = loaded.backbone.blocks[: 1 + max(map(names.index, blocks))]
    transform, functions = encoded_transform(image), compiled_blocks(loaded, dtype, needed)
    kept: dict[str, list[npt.NDArray[np.float32]]] = {block: [] for block in blocks}
    ids: list[str] = []
    splits: list[str] = []
    labels: list[int] = []
    rows: list[tuple[float, ...]] = []
    grey: list[npt.NDArray[np.uint8]] = []
    size = batch_size(loaded.backbone.name, image.size)
    for split, batch in _batches(records, size, chosen):
        encoded = []
        for record in batch:
            feature = tf.train.Example.FromString(record).features.feature
            encoded.append(feature[features.IMAGE_ENCODED].bytes_list.value[0])
            ids.append(feature[features.IMAGE_ID].bytes_list.value[0].decode("utf-8", "replace"))
            labels.append(feature[features.LABEL].int64_list.value[0])
            splits.append(split)
        for one in encoded:
            brightness_there = brightness_of(decode(tf.constant(one)).numpy())
            rows.append(PictureStatistics.of(brightness_there))
            grey.append(_small(brightness_there))
        value = tf.cast(transform(tf.constant(encoded)), dtype)
        for block in needed:
            value = functions[block.name](value)
            if block.name in kept:
                kept[block.name].append(global_average(tf.cast(value, tf.float32)).numpy())
        advance(len(batch))
    height, width, brightness, contrast, sharpness = np.array(rows, np.float32).T
    return Measured(
        ids=tuple(ids),
        splits=np.array(splits),
        labels=np.array(labels, np.int64),
        heights=height.astype(np.int64),
        widths=width.astype(np.int64),
        brightness=brightness,
        contrast=contrast,
        sharpness=sharpness,
        grey=np.stack(grey),
        features={block: np.concatenate(parts) for block, parts in kept.items()},
    )


def _batches(
    records: Mapping[str, Sequence[Path]], size: int, chosen: npt.NDArray[np.bool_]
) -> Iterator[tuple[str, list[bytes]]]:
    is_chosen = iter(chosen.tolist())
    for split, paths in records.items():
        serialized = (
            record for path in paths for record in read_records(str(path)) if next(is_chosen)
        )
        while batch := list(islice(serialized, size)):
            yield split, batch


def _small(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Returns the small copy of a picture's brightness, ``[GREY_SIDE, GREY_SIDE]``."""
    picture = PillowImage.fromarray(grey)
    return np.asarray(picture.resize((GREY_SIDE, GREY_SIDE), PillowImage.Resampling.BOX))
