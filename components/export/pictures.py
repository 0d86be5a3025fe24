"""The pictures that an export is calibrated on and measured with: those of the model's own run."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inception_finetune.components import features
from inception_finetune.components.drift.records import record_files, sample_records
from inception_finetune.components.export.settings import ExportSection
from inception_finetune.components.image.decoding_without_tensorflow import decode
from inception_finetune.components.progress import progress


class LabelledPictures(NamedTuple):
    """What all models are asked."""

    encoded: tuple[bytes, ...]  # PNG or JPEG
    labels: npt.NDArray[np.int64]  # [N], the truth


def draw_test_pictures(examples: Path, settings: ExportSection) -> LabelledPictures:
    """Draws test pictures.

    Args:
      examples: folder of the examples that the model was trained on, with one for each split.
      settings: how many.

    Raises:
      UserError: they were removed, or are fewer than `settings.min_test_pictures`.
    """
    serialized = _drawn(examples, features.TEST, settings.test_pictures, settings.seed)
    settings.require_test_pictures(len(serialized), str(examples))
    found = [_picture_and_label(one) for one in serialized]
    return LabelledPictures(
        tuple(picture for picture, _ in found), np.array([label for _, label in found], np.int64)
    )


def draw_calibration_pictures(
    examples: Path, settings: ExportSection
) -> list[npt.NDArray[np.uint8]]:
    """Draws and decodes train pictures, on which ranges of values are measured.

    Args:
      examples: folder of the examples that the model was trained on, with one for each split.
      settings: how many.

    Returns:
      ``[H, W, 3]`` uint8 each.

    Raises:
      UserError: they were removed.
    """
    serialized = _drawn(examples, features.TRAIN, settings.calibration_pictures, settings.seed)
    return [decode(_picture_and_label(one)[0]) for one in serialized]


def _drawn(examples: Path, split: str, count: int, seed: int) -> Sequence[bytes]:
    folder = examples / f"Split-{split}"
    with progress(f"Reading {split} pictures", total=None, unit="records") as advance:
        return sample_records(record_files([folder]), count, seed, advance).serialized


def _picture_and_label(serialized: bytes) -> tuple[bytes, int]:
    import tensorflow as tf

    feature = tf.train.Example.FromString(serialized).features.feature
    [picture] = feature[features.IMAGE_ENCODED].bytes_list.value
    [label] = feature[features.LABEL].int64_list.value
    return picture, label
