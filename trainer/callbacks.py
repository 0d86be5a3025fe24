"""What happens beside the optimisation: the end of training and its progress bar."""

from contextlib import ExitStack

import tf_keras as keras

from components.progress import progress


class StopAfter(keras.callbacks.Callback):
    """Ends training after exactly `total_steps`, in the middle of an epoch if need be."""

    def __init__(self, total_steps: int) -> None:
        super().__init__()
        self._left = total_steps

    def on_train_batch_end(self, batch, logs=None) -> None:
        self._left -= 1
        if self._left <= 0:
            self.model.stop_training = True


class ProgressBar(keras.callbacks.Callback):
    """Images that were trained, on a bar or in a plain line."""

    def __init__(self, total_steps: int, batch_size: int) -> None:
        super().__init__()
        self._images = total_steps * batch_size
        self._batch_size = batch_size
        self._open = ExitStack()

    def on_train_begin(self, logs=None) -> None:
        self._advance = self._open.enter_context(progress("training", self._images, "images"))

    def on_train_batch_end(self, batch, logs=None) -> None:
        self._advance(self._batch_size)

    def on_train_end(self, logs=None) -> None:
        self._open.close()
