"""TFLite with weights and activations in 8 bits, whose ranges are measured on train pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inception_finetune.components.errors import UserError
from inception_finetune.components.export import tflite_conversion
from inception_finetune.components.export.metadata import ExportMetadata


def convert_int8(
    model: Any,
    metadata: ExportMetadata,
    target: Path,
    calibration: Sequence[npt.NDArray[np.uint8]],
) -> None:
    """Writes the file.

    Args:
      model: a loaded SavedModel with the signature ``predict_pixels``.
      metadata: what the file is to say of itself.
      target: the file.
      calibration: decoded train pictures, ``[H, W, 3]`` uint8; test pictures would be measured
        with what was learnt from them.

    Raises:
      UserError: there are none.
    """
    if not calibration:
        raise UserError(
            "No train pictures for tflite-int8: its ranges are measured on them. "
            "Run the pipeline again, or leave that format out."
        )

    def pictures() -> Iterator[list[npt.NDArray[np.uint8]]]:
        for pixels in calibration:
            yield [pixels[np.newaxis]]

    tflite_conversion.convert(model, metadata, target, representative_dataset=pictures)
