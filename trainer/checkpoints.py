"""Checkpoints of a training: all that the next step depends on, and the best epoch's weights."""

from contextlib import contextmanager

import tensorflow as tf
from tensorflow.python.trackable.base import Trackable

from inception_finetune.components.errors import UserError

# What cut off, emptied and missing files raise. Any other OpError, such as that of a device that
# is away or of a file that may not be read, says nothing about the file's content.
_DAMAGED = (
    tf.errors.DataLossError,
    tf.errors.NotFoundError,
    AssertionError,
    IndexError,
)
# TensorFlow's reader says these as the bare OpError.
_DAMAGE = ("sstable", "checksum", "block", "No such file", "corrupted")


class Checkpoints:
    """The latest state of a training, and the best epoch's weights."""

    def __init__(self, directory: str, weights: dict[str, Trackable], **others: Trackable) -> None:
        """Opens or creates the checkpoints in `directory`.

        Args:
          directory: folder of the training.
          weights: what the best epoch keeps.
          **others: what resuming needs besides.

        Raises:
          UserError: the file that names the latest checkpoint is damaged.
        """
        self.directory = directory
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best = tf.Variable([0.0, 0.0], dtype=tf.float64, trainable=False)
        self._best_epoch = tf.Variable(0, dtype=tf.int64, trainable=False)  # from 1; 0 is none
        state = {"step": self._step, "best": self._best, "best_epoch": self._best_epoch}
        self._state = tf.train.Checkpoint(**weights, **others, **state)
        self._weights = tf.train.Checkpoint(**weights)
        try:
            self._manager = tf.train.CheckpointManager(self._state, f"{directory}/state", 1)
        except ValueError as error:  # of the file that names the checkpoint
            raise self._unreadable(str(error)) from error

    def restore(self) -> int:
        """Restores the latest state.

        Returns:
          The number of completed steps.

        Raises:
          UserError: the state on disk is damaged.
        """
        latest = self._manager.latest_checkpoint
        if not latest and tf.io.gfile.exists(f"{self.directory}/state/checkpoint"):
            raise self._unreadable("state/checkpoint names none")
        if latest:
            with self._readable():
                self._state.restore(latest).assert_existing_objects_matched()
        return int(self._step.numpy())

    def save(self, step: int) -> None:
        """Replaces the latest state at once or not at all.

        Args:
          step: number of completed steps.
        """
        self._step.assign(step)
        self._manager.save(checkpoint_number=step)
        best = self._best_path()
        for path in tf.io.gfile.glob(f"{self.directory}/best/epoch-*"):
            if not path.startswith(f"{best}."):
                tf.io.gfile.remove(path)

    def note(self, epoch: int, accuracy: float, loss: float) -> None:
        """Keeps the weights of `epoch` if it is the best so far; ties go to the lower loss.

        The previous best stays on disk until the next `save`, which records the new one.

        Args:
          epoch: number of the epoch, from 1.
          accuracy: on validation, in [0, 1].
          loss: on validation.
        """
        best_accuracy, best_loss = self._best.numpy()
        if self.best_epoch and (accuracy, -loss) <= (best_accuracy, -best_loss):
            return
        self._best.assign([accuracy, loss])
        self._best_epoch.assign(epoch)
        self._weights.write(self._best_path())

    @property
    def best_epoch(self) -> int:
        """Number of the best epoch, from 1; 0 if there is none yet."""
        return int(self._best_epoch.numpy())

    def restore_best(self) -> None:
        """Restores the weights of the best epoch.

        Raises:
          UserError: the weights on disk are damaged.
        """
        with self._readable():
            self._weights.read(self._best_path()).assert_existing_objects_matched()

    def _best_path(self) -> str:
        return f"{self.directory}/best/epoch-{self.best_epoch}"

    @contextmanager
    def _readable(self):
        try:
            yield
        except (*_DAMAGED, tf.errors.OpError) as error:
            if not _is_damage(error):
                raise
            raise self._unreadable(str(error).splitlines()[0]) from error

    def _unreadable(self, reason: str) -> UserError:
        return UserError(
            f"Checkpoint in {self.directory} is unreadable ({reason}). Delete the folder to train "
            "from the start."
        )


def _is_damage(error: Exception) -> bool:
    if isinstance(error, _DAMAGED):
        return True
    return type(error) is tf.errors.OpError and any(word in str(error) for word in _DAMAGE)
