"""An exported file that answers pictures as a pushed model does, without TensorFlow."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inception_finetune.components.errors import UserError, in_short
from inception_finetune.components.export.exported_file import open_exported_file
from inception_finetune.components.image.decoding_without_tensorflow import (
    UnreadablePictureError,
    decode,
)
from inception_finetune.components.io.picture_answers import Answers

if TYPE_CHECKING:
    import numpy.typing as npt


class ExportedModel:
    """An ONNX or TFLite file, and the names of its classes."""

    def __init__(self, path: Path) -> None:
        """Loads the file.

        Args:
          path: of the file.

        Raises:
          UserError: it is not there, cannot be loaded, or lacks what `export` writes into it.
        """
        self.directory = path
        self._file = open_exported_file(path)
        self.metadata = self._file.metadata
        self.label_names = self.metadata.label_names

    def answer(self, encoded: Sequence[bytes]) -> Answers:
        """Classifies pictures, one at a time: they differ in size.

        Args:
          encoded: content of each file.

        Returns:
          Their probabilities, and why some cannot be read.

        Raises:
          UserError: the file fails, or answers with another number of classes than it names.
        """
        shares = np.zeros([len(encoded), len(self.label_names)], np.float32)
        errors = [""] * len(encoded)
        for place, one in enumerate(encoded):
            try:
                pixels = decode(one)
            except UnreadablePictureError as error:
                errors[place] = str(error)
                continue
            shares[place] = self._ask(pixels)
        return Answers(shares, errors)

    def _ask(self, pixels: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.float32]":
        try:
            [row] = self._file.probabilities(pixels[np.newaxis])
        except Exception as error:  # runtimes raise their own
            raise UserError(
                f"Model {self.directory} does not answer ({in_short(error)}). "
                "Export it again, or give another --model FILE."
            ) from error
        if len(row) != len(self.label_names):
            raise UserError(
                f"Model {self.directory} tells {len(row)} classes apart, and its metadata name "
                f"{len(self.label_names)}. Export it again, or give another --model FILE."
            )
        return row
