"""Writes one TFRecord shard of images; imports no more than a converter's process needs."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inception_finetune.components.dataset.manifest import Shard
from inception_finetune.components.dataset.source import Pictures
from inception_finetune.components.dataset.tfrecord import frame, serialize_example
from inception_finetune.components.features import (
    IMAGE_ENCODED,
    IMAGE_FORMAT,
    IMAGE_HEIGHT,
    IMAGE_ID,
    IMAGE_WIDTH,
    LABEL,
)


@dataclass(frozen=True)
class ShardSource:
    """The content of a shard: N `pictures`, `labels` [N] int64 and N `ids`."""

    path: Path
    pictures: Pictures
    labels: npt.NDArray[np.int64]
    ids: tuple[str, ...]


def write_shard(source: ShardSource) -> Shard:
    """Writes the examples in their order.

    Returns:
      The shard's entry in the manifest.
    """
    digest = hashlib.sha256()
    size = 0
    changed: Counter[str] = Counter()
    with source.path.open("wb") as file:
        for picture, label, id_ in zip(
            source.pictures, source.labels.tolist(), source.ids, strict=True
        ):
            record = frame(
                serialize_example(
                    {
                        IMAGE_ENCODED: picture.encoded,
                        IMAGE_FORMAT: picture.format.encode(),
                        IMAGE_HEIGHT: picture.height,
                        IMAGE_WIDTH: picture.width,
                        IMAGE_ID: id_.encode(),
                        LABEL: label,
                    }
                )
            )
            digest.update(record)
            changed.update(picture.changes)
            size += file.write(record)
    return Shard(
        source.path.name, len(source.ids), size, digest.hexdigest(), dict(sorted(changed.items()))
    )
