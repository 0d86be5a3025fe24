"""Where training stands, on disk: all that the next step depends on."""

import hashlib
from collections.abc import Iterable
from contextlib import contextmanager

import tensorflow as tf
from tensorflow.python.trackable.base import Trackable

from components.errors import UserError

_DAMAGED = (tf.errors.OpError, AssertionError, IndexError)  # all are seen of cut off files


def run_directory(root: str, identity: Iterable[str]) -> str:
    """The folder of the training that `identity` names; those of other trainings are removed.

    A training that is killed is found again by what it was given. One that is not repeated next
    is given up, so that checkpoints do not pile up.
    """
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
    directory = f"{root.rstrip('/')}/{digest}"
    for other in tf.io.gfile.glob(f"{root.rstrip('/')}/*"):
        if other != directory:
            tf.io.gfile.rmtree(other)
    tf.io.gfile.makedirs(directory)
    return directory


class Checkpoints:
    """The latest state of a training, and the best epoch's weights."""

    def __init__(self, directory: str, weights: dict[str, Trackable], **others: Trackable) -> None:
        """`weights` is what the best epoch keeps, `others` is what resuming needs besides."""
        self.directory = directory
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best = tf.Variable([0.0, 0.0], dtype=tf.float64, trainable=False)
        self._best_epoch = tf.Variable(0, dtype=tf.int64, trainable=False)  # from 1; 0 is none
        state = {"step": self._step, "best": self._best, "best_epoch": self._best_epoch}
        self._state = tf.train.Checkpoint(**weights, **others, **state)
        self._weights = tf.train.Checkpoint(**weights)
        self._manager = tf.train.CheckpointManager(self._state, f"{directory}/state", 1)

    def restore(self) -> int:
        """Goes back to the last state; returns the number of steps that are done.

        Raises:
          UserError: the state on disk is damaged.
        """
        latest = self._manager.latest_checkpoint
        if latest:
            with self._readable():
                self._state.restore(latest).assert_existing_objects_matched()
        return int(self._step.numpy())

    def save(self, step: int) -> None:
        """Replaces the last state at once or not at all."""
        self._step.assign(step)
        self._manager.save(checkpoint_number=step)
        best = self._best_path()
        for path in tf.io.gfile.glob(f"{self.directory}/best/*"):
            if not path.startswith(f"{best}."):
                tf.io.gfile.remove(path)

    def note(self, epoch: int, accuracy: float, loss: float) -> None:
        """Keeps the weights of `epoch` where it is the best so far; ties go to the lower loss.

        The best before stays on disk until the next `save`, which remembers the new one.
        """
        best_accuracy, best_loss = self._best.numpy()
        if self.best_epoch and (accuracy, -loss) <= (best_accuracy, -best_loss):
            return
        self._best.assign([accuracy, loss])
        self._best_epoch.assign(epoch)
        self._weights.write(self._best_path())

    @property
    def best_epoch(self) -> int:
        return int(self._best_epoch.numpy())

    def restore_best(self) -> None:
        with self._readable():
            self._weights.read(self._best_path()).assert_existing_objects_matched()

    def _best_path(self) -> str:
        return f"{self.directory}/best/epoch-{self.best_epoch}"

    @contextmanager
    def _readable(self):
        try:
            yield
        except _DAMAGED as error:
            raise UserError(
                f"a checkpoint must be whole. Received: a damaged one in {self.directory} "
                f"({str(error).splitlines()[0]}); delete that folder and run again"
            ) from error
