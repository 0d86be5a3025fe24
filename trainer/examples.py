"""The examples that TFX hands over, opened."""

from pathlib import Path
from typing import NamedTuple

import tensorflow_transform as tft

from components import features
from trainer import input_fn
from trainer.settings import TrainerSettings


class Opened(NamedTuple):
    train: input_fn.Source
    validation: input_fn.Source
    pictures: input_fn.ImageSource  # of the validation examples, in the same order


def open_examples(
    train_files: list[str],
    validation_files: list[str],
    settings: TrainerSettings,
    transform: tft.TFTransformOutput,
    scratch: Path,
) -> Opened:
    """Trunk features where they are stored, else images; `scratch` must outlive them."""
    train, validation = (
        input_fn.open_source(files, split, transform, scratch, views)
        for files, split, views in (
            (train_files, features.TRAIN, settings.views),
            (validation_files, features.VALIDATION, settings.views[:1]),
        )
    )
    pictures = input_fn.open_pictures(validation_files, features.VALIDATION, transform, scratch)
    return Opened(train, validation, pictures)
