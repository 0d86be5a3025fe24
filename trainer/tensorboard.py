"""Logs of training for TensorBoard, in the runs ``train`` and ``validation``."""

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras as keras

from inception_finetune.components.image.settings import TrainViews
from inception_finetune.components.image.view_grid import view_grid
from inception_finetune.trainer.loop import EpochMetrics, Observer, StepMetrics
from inception_finetune.trainer.pictures import (
    confusion_matrix_picture,
    encode_png,
    predictions_picture,
    sprite,
)

TRAIN, VALIDATION = "train", "validation"
_SHOWN_IN_VIEWS = 8  # images
SPRITE_SIDE = 32  # pixels of each thumbnail in the embedding projector


class TensorBoardLog(Observer):
    """Logs scalars of steps; scalars, histograms and the confusion matrix of every epoch."""

    def __init__(
        self,
        directory: str,
        start: int,
        *,
        variables: list[tf.Variable],
        samples: npt.NDArray[np.float32],
        label_names: tuple[str, ...],
        batch_size: int,
    ) -> None:
        """Opens the logs, and continues those of a killed run.

        Args:
          directory: of the logs.
          start: number of completed steps; later events are removed, as those steps run again.
          variables: whose histograms are drawn.
          samples: the first validation images, ``[N, S, S, 3]`` float32 in [-1, 1].
          label_names: of all classes.
          batch_size: images in a step.
        """
        forget_events_after(directory, start)
        self._directory = directory
        self._train = tf.summary.create_file_writer(f"{directory}/{TRAIN}")
        self._validation = tf.summary.create_file_writer(f"{directory}/{VALIDATION}")
        self._variables = variables
        self._samples = samples
        self._label_names = label_names
        self._batch_size = batch_size

    def on_step(self, metrics: StepMetrics) -> None:
        """Logs the steps' scalars."""
        with self._train.as_default(step=metrics.step):
            tf.summary.scalar("loss", metrics.loss)
            tf.summary.scalar("accuracy", metrics.accuracy)
            tf.summary.scalar("learning_rate", metrics.learning_rate)
            tf.summary.scalar("gradient_norm", metrics.gradient_norm)
            tf.summary.scalar("seconds_per_step", metrics.seconds)
            tf.summary.scalar("images_per_second", self._batch_size / metrics.seconds)

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Logs the epoch's scalars, histograms and pictures."""
        with self._train.as_default(step=metrics.step):
            tf.summary.scalar("epoch_loss", metrics.loss)
            tf.summary.scalar("epoch_accuracy", metrics.accuracy)
            for variable in self._variables:
                tf.summary.histogram(f"weights/{variable.name.removesuffix(':0')}", variable)
        with self._validation.as_default(step=metrics.step):
            tf.summary.scalar("epoch_loss", metrics.validation.loss)
            tf.summary.scalar("epoch_accuracy", metrics.validation.accuracy)
            labels, predictions = metrics.validation.labels, metrics.validation.predictions
            matrix = confusion_matrix_picture(labels, predictions, self._label_names)
            tf.summary.image("confusion_matrix", matrix[None])
            shown = predictions_picture(self._samples, labels, predictions, self._label_names)
            tf.summary.image("predictions", shown[None])

    def before_save(self) -> None:
        """Flushes the logs."""
        self._train.flush()
        self._validation.flush()

    def graph(self, network: keras.Model) -> None:
        """Logs the network's graph in inference mode, without the steps of training."""
        call = tf.function(lambda inputs: network(inputs, training=False))
        spec = tf.TensorSpec(network.input.shape, network.input.dtype)
        with self._train.as_default(step=0):
            tf.summary.graph(call.get_concrete_function(spec).graph)

    def views(self, views: TrainViews, seed: int) -> None:
        """Logs the first images in views that training may take, if there is more than one.

        Args:
          views: of train images.
          seed: of the random views.
        """
        if views != TrainViews():
            grid = view_grid(self._samples[:_SHOWN_IN_VIEWS], views, seed)
            with self._train.as_default(step=0):
                tf.summary.image("views", grid[None])

    def hyperparameters(self, values: Mapping[str, bool | int | float | str]) -> None:
        """Logs the values for the HParams tab, which compares runs by validation accuracy and loss.

        Args:
          values: settings by name.
        """
        from tensorboard.plugins.hparams import api

        metrics = [
            api.Metric(f"epoch_{name}", group=VALIDATION, display_name=f"validation {name}")
            for name in ("accuracy", "loss")
        ]
        with tf.summary.create_file_writer(self._directory).as_default(step=0):
            api.hparams_config([api.HParam(name) for name in values], metrics)
            # By default, runs with the same values would be shown as one.
            api.hparams(dict(values), trial_id=self._directory.split("/")[-2])

    def close(self) -> None:
        """Closes the logs."""
        self._train.close()
        self._validation.close()


def forget_events_after(directory: str, step: int) -> None:
    """Removes a killed run's events after `step`, so that no step is shown twice."""
    for path in tf.io.gfile.glob(f"{directory}/*/events.out.tfevents.*"):
        records = []
        try:
            for record in tf.compat.v1.io.tf_record_iterator(path):
                if tf.compat.v1.Event.FromString(record).step <= step:
                    records.append(record)
        except tf.errors.DataLossError:
            pass  # the kill cut off the last event
        with tf.io.TFRecordWriter(f"{path}.new") as writer:
            for record in records:
                writer.write(record)
        tf.io.gfile.rename(f"{path}.new", path, overwrite=True)


def write_projector(
    directory: str,
    vectors: npt.NDArray[np.float32],
    thumbnails: npt.NDArray[np.uint8],
    rows: Sequence[tuple[str, str]],
) -> None:
    """Writes the files of TensorBoard's embedding projector.

    Args:
      directory: of a run's logs.
      vectors: ``[N, D]`` float32, the head's input.
      thumbnails: ``[N, SPRITE_SIDE, SPRITE_SIDE, 3]`` uint8.
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
