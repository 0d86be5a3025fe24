"""One TFRecord shard of images; all that a converter's process runs and has to import."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.dataset.manifest import Shard
from components.dataset.png import encode_png
from components.dataset.tfrecord import frame, serialize_example
from components.features import (
    IMAGE_ENCODED,
    IMAGE_FORMAT,
    IMAGE_HEIGHT,
    IMAGE_ID,
    IMAGE_WIDTH,
    LABEL,
)


@dataclass(frozen=True)
class ShardSource:
    """`images` is [N, side, side, 3] uint8, `labels` is [N] int64; `ids` has N texts."""

    path: Path
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    ids: tuple[str, ...]


def write_shard(source: ShardSource) -> Shard:
    """Writes the examples in their order and returns what the manifest says of them."""
    digest = hashlib.sha256()
    size = 0
    with source.path.open("wb") as file:
        for image, label, id_ in zip(
            source.images, source.labels.tolist(), source.ids, strict=True
        ):
            height, width, _ = image.shape
            record = frame(
                serialize_example(
                    {
                        IMAGE_ENCODED: encode_png(image),
                        IMAGE_FORMAT: b"png",
                        IMAGE_HEIGHT: height,
                        IMAGE_WIDTH: width,
                        IMAGE_ID: id_.encode(),
                        LABEL: label,
                    }
                )
            )
            digest.update(record)
            size += file.write(record)
    return Shard(source.path.name, len(source.ids), size, digest.hexdigest())
