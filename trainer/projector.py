"""TensorBoard's embedding projector: where the network sees the validation images."""

import csv
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.trainer.pictures import encode_png, sprite

SPRITE_SIDE = 32  # pixels of each thumbnail


def write_projector(
    directory: str,
    vectors: npt.NDArray[np.float32],
    thumbnails: npt.NDArray[np.uint8],
    rows: Sequence[tuple[str, str]],
) -> None:
    """Writes what the projector reads from a run's folder.

    Args:
      vectors: [N, D], what the head sees.
      thumbnails: [N, SPRITE_SIDE, SPRITE_SIDE, 3].
      rows: true and predicted label of each.
    """
    from tensorboard.plugins import projector

    tf.io.gfile.makedirs(directory)
    _write(f"{directory}/vectors.bin", vectors.astype("<f4").tobytes())
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerows([("label", "predicted"), *rows])
    _write(f"{directory}/metadata.tsv", text.getvalue().encode())
    _write(f"{directory}/sprite.png", encode_png(sprite(thumbnails)))

    config = projector.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = "validation images"
    embedding.tensor_path = "vectors.bin"
    embedding.tensor_shape.extend(vectors.shape)
    embedding.metadata_path = "metadata.tsv"
    embedding.sprite.image_path = "sprite.png"
    embedding.sprite.single_image_dim.extend([SPRITE_SIDE, SPRITE_SIDE])
    projector.visualize_embeddings(directory, config)


def _write(path: str, content: bytes) -> None:
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)
