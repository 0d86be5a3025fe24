"""The examples that TFX hands over, opened."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import tensorflow_transform as tft

from inception_finetune.components import features
from inception_finetune.trainer import input_fn
from inception_finetune.trainer.settings import TrainerSettings


class Opened(NamedTuple):
    train: input_fn.IndexedSource
    validation: input_fn.Source
    pictures: input_fn.Source  # the first of the validation examples, in the same order

    def digests(self) -> list[str]:
        """What the examples are, wherever they lie."""
        return [self.train.digest(), self.validation.digest()]


@contextmanager
def open_examples(
    train_files: list[str],
    validation_files: list[str],
    settings: TrainerSettings,
    transform: tft.TFTransformOutput,
    scratch: Path,
    pictures: int,
) -> Iterator[Opened]:
    """Trunk features where they are stored, else images; `scratch` must outlive them.

    Args:
      pictures: how many of the validation examples can be looked at.
    """
    with ExitStack() as stack:
        train = stack.enter_context(
            input_fn.open_train(train_files, transform, scratch, settings.views)
        )
        stored = input_fn.open_features(validation_files, features.VALIDATION)
        if stored is not None:
            validation: input_fn.Source = stack.enter_context(stored)
            shown: input_fn.Source = stack.enter_context(
                input_fn.open_pictures(
                    validation_files, features.VALIDATION, transform, scratch, pictures
                )
            )
        else:
            validation = shown = input_fn.ImageStream(validation_files, transform)
        yield Opened(train, validation, shown)
