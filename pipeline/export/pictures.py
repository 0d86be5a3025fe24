"""The pictures that an export is calibrated on and measured with: those of the model's own run."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inception_finetune.components import features
from inception_finetune.components.drift.records import record_files, sample_records
from inception_finetune.components.errors import UserError
from inception_finetune.components.export.settings import ExportSection
from inception_finetune.components.image.decoding_without_tensorflow import decode
from inception_finetune.components.progress import progress
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.rollback import as_pushed
from inception_finetune.pipeline.history.runs import Run, read_runs


class LabelledPictures(NamedTuple):
    """What all models are asked."""

    encoded: tuple[bytes, ...]  # PNG or JPEG
    labels: npt.NDArray[np.int64]  # [N], the truth


def run_of(config: Config, model: Path) -> Run:
    """Finds the run that has trained a model.

    Args:
      config: of the pipeline.
      model: folder of the SavedModel, pushed or not.

    Raises:
      UserError: no run of the pipeline has.
    """
    place = as_pushed(config, model)
    for run in reversed(read_runs(config)):
        if run.pushed_as is not None and run.pushed_as.resolve() == place:
            return run
        trained = run.artifacts.get((Step.TRAINER, "model"))
        if trained is not None and Path(trained.uri).resolve() in place.parents:
            return run
    raise UserError(
        f"Model {model} has no run in {config.root}, whose pictures it could be tested with. "
        "Give --config and root=DIRECTORY of the pipeline that trained it."
    )


def draw_test_pictures(run: Run, settings: ExportSection) -> LabelledPictures:
    """Draws test pictures.

    Args:
      run: that trained the model.
      settings: how many.

    Raises:
      UserError: they were removed, or are fewer than `settings.min_test_pictures`.
    """
    serialized = _drawn(run, features.TEST, settings.test_pictures, settings.seed)
    if len(serialized) < settings.min_test_pictures:
        raise UserError(
            f"Run {run.number} has {len(serialized)} test pictures, fewer than "
            f"export.min_test_pictures={settings.min_test_pictures}: exports would be kept "
            "unverified. Set it lower."
        )
    found = [_picture_and_label(one) for one in serialized]
    return LabelledPictures(
        tuple(picture for picture, _ in found), np.array([label for _, label in found], np.int64)
    )


def draw_calibration_pictures(run: Run, settings: ExportSection) -> list[npt.NDArray[np.uint8]]:
    """Draws and decodes train pictures, on which ranges of values are measured.

    Args:
      run: that trained the model.
      settings: how many.

    Returns:
      ``[H, W, 3]`` uint8 each.

    Raises:
      UserError: they were removed.
    """
    serialized = _drawn(run, features.TRAIN, settings.calibration_pictures, settings.seed)
    return [decode(_picture_and_label(one)[0]) for one in serialized]


def _drawn(run: Run, split: str, count: int, seed: int) -> Sequence[bytes]:
    folder = Path(run.uri(Step.EXAMPLE_GEN, "examples")) / f"Split-{split}"
    with progress(f"Reading {split} pictures", total=None, unit="records") as advance:
        return sample_records(record_files([folder]), count, seed, advance).serialized


def _picture_and_label(serialized: bytes) -> tuple[bytes, int]:
    import tensorflow as tf

    feature = tf.train.Example.FromString(serialized).features.feature
    [picture] = feature[features.IMAGE_ENCODED].bytes_list.value
    [label] = feature[features.LABEL].int64_list.value
    return picture, label
