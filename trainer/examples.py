"""Opens the examples that TFX passes to the Trainer: stored trunk features, or images."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
import tensorflow_transform as tft

from inception_finetune.components import features
from inception_finetune.components.image.settings import TrainViews
from inception_finetune.components.io.record_index import RecordIndex
from inception_finetune.components.trunk_features.store import index_path, read_origin
from inception_finetune.trainer import input_fn
from inception_finetune.trainer.settings import TrainerSettings


class TrainerInputs(NamedTuple):
    """The examples of a training."""

    train: input_fn.IndexedSource
    validation: input_fn.Source
    pictures: input_fn.Source  # the first of the validation examples, in the same order

    def digests(self) -> list[str]:
        """Hashes of the train and validation examples, whichever files hold them."""
        return [self.train.digest(), self.validation.digest()]


@contextmanager
def open_inputs(
    train_files: list[str],
    validation_files: list[str],
    settings: TrainerSettings,
    transform: tft.TFTransformOutput,
    scratch: Path,
    pictures: int,
) -> Iterator[TrainerInputs]:
    """Opens trunk features if they are stored, else images.

    Args:
      train_files: patterns as TFX gives them, ``<artifact>/Split-train/*``.
      validation_files: patterns of the validation split.
      settings: of the training.
      transform: the graph that preprocesses images.
      scratch: folder for copies; must exist as long as the inputs are used.
      pictures: how many validation images to open for display.

    Yields:
      The inputs, which are closed at the end.
    """
    with ExitStack() as stack:
        train = stack.enter_context(open_train(train_files, transform, scratch, settings.views))
        stored = open_features(validation_files, features.VALIDATION)
        if stored is not None:
            validation: input_fn.Source = stack.enter_context(stored)
            pictures_source: input_fn.Source = stack.enter_context(
                open_pictures(validation_files, features.VALIDATION, transform, scratch, pictures)
            )
        else:
            validation = pictures_source = input_fn.ImageStream(validation_files, transform)
        yield TrainerInputs(train, validation, pictures_source)


def open_features(files: Sequence[str], split: str) -> input_fn.FeatureSource | None:
    """Opens trunk features, if the artifact holds them.

    Args:
      files: patterns as TFX gives them, ``<artifact>/Split-<split>/*``.
      split: name of the split.
    """
    artifact = files[0].rsplit("/", 2)[0]
    path = index_path(artifact, split)
    if not tf.io.gfile.exists(path):
        return None
    return input_fn.FeatureSource(RecordIndex.load(path, f"{artifact}/Split-{split}"))


def open_train(
    files: Sequence[str], transform: tft.TFTransformOutput, scratch: Path, views: TrainViews
) -> input_fn.IndexedSource:
    """Opens trunk features if the artifact holds them, else raw examples.

    Args:
      files: patterns as TFX gives them, ``<artifact>/Split-train/*``.
      transform: the graph that preprocesses images.
      scratch: folder for a copy of raw examples that can be read in any order.
      views: of raw examples; features are stored in theirs.
    """
    stored = open_features(files, features.TRAIN)
    return input_fn.ImageSource(files, transform, scratch, views) if stored is None else stored


def open_pictures(
    files: Sequence[str], split: str, transform: tft.TFTransformOutput, scratch: Path, first: int
) -> input_fn.ImageSource:
    """Opens the images of the `first` of stored features, in the same order.

    Args:
      files: patterns of the features, as TFX gives them.
      split: name of the split.
      transform: the graph that preprocesses images.
      scratch: folder for a copy of the raw examples.
      first: number of images.
    """
    origin = read_origin(files[0].rsplit("/", 2)[0])
    return input_fn.ImageSource([f"{origin}/Split-{split}/*"], transform, scratch, first=first)
