"""Asks ONNX files, by ONNX Runtime."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from inception_finetune.components import features
from inception_finetune.components.export.metadata import KEY, ExportMetadata

SUFFIX: Final = ".onnx"


class OnnxFile:
    """An ONNX file that answers pixels."""

    def __init__(self, path: Path) -> None:
        """Loads the file.

        Args:
          path: of the file.

        Raises:
          UserError: it was not written by this package.
          Exception: it is damaged; each kind of damage has an exception of its own.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # only what is fatal: errors are raised
        self._session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        properties = self._session.get_modelmeta().custom_metadata_map
        self.metadata = ExportMetadata.of(properties.get(KEY), str(path))

    def probabilities(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Classifies pictures of one size.

        Args:
          pixels: ``[N, H, W, 3]`` uint8, RGB.

        Returns:
          ``[N, classes]`` float32.
        """
        answer = self._session.run([features.PROBABILITIES], {features.PIXELS: pixels})
        return np.asarray(answer[0])
