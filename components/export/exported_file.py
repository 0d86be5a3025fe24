"""Opens an exported file by its suffix, without TensorFlow but for those of TensorFlow.js."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from inception_finetune.components.errors import UserError, in_short
from inception_finetune.components.export import onnx_file, tfjs_file, tflite_file
from inception_finetune.components.export.metadata import ExportMetadata


class ExportedFile(Protocol):
    """A file that answers pixels, whatever its format."""

    metadata: ExportMetadata

    def probabilities(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """``[N, H, W, 3]`` uint8, RGB, to ``[N, classes]`` float32."""


_OPENED_BY: Final[dict[str, Callable[[Path], ExportedFile]]] = {
    onnx_file.SUFFIX: onnx_file.OnnxFile,
    tflite_file.SUFFIX: tflite_file.TfliteFile,
    tfjs_file.SUFFIX: tfjs_file.TfjsFile,
}


def is_exported_file(path: Path) -> bool:
    """Returns whether a path names a file of one of the formats, by its suffix."""
    return path.suffix.lower() in _OPENED_BY and not path.is_dir()


def open_exported_file(path: Path) -> ExportedFile:
    """Loads a file of one of the formats.

    Args:
      path: of the file, as `is_exported_file` accepts it.

    Returns:
      The file, ready to be asked.

    Raises:
      UserError: it is not there, cannot be loaded, or was not written by this package.
    """
    if not path.is_file():
        raise UserError(f"No such file: {path}. Check the path of --model.")
    try:
        return _OPENED_BY[path.suffix.lower()](path)
    except (UserError, ImportError):
        raise
    except Exception as error:  # runtimes raise their own
        raise UserError(
            f"Model {path} cannot be loaded ({in_short(error)}). "
            "Export it again, or give another --model FILE."
        ) from error
