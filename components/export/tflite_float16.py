"""TFLite with weights in float16: half the size, computed in float32."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inception_finetune.components.export import tflite_conversion
from inception_finetune.components.export.metadata import ExportMetadata


def convert_float16(
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
      calibration: not needed.
    """
    import tensorflow as tf

    converter = tflite_conversion.converter_of(model)
    converter.target_spec = tf.lite.TargetSpec(supported_types=[tf.float16])
    tflite_conversion.write(converter.convert(), metadata, target)
