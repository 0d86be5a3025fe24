"""ONNX in float32: a SavedModel's signature of pixels becomes a file for ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from inception_finetune.components import features
from inception_finetune.components.export.metadata import KEY, ExportMetadata

_OPSET: Final = 17  # of 2022: ONNX Runtime 1.13 and newer have it


def convert_onnx(
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
    import onnx
    import tensorflow as tf
    import tf2onnx

    signature = model.signatures[features.PREDICT_PIXELS]
    specification = (
        tf.TensorSpec([None, None, None, features.CHANNELS], tf.uint8, name=features.PIXELS),
    )
    function = tf.function(
        lambda pixels: {features.PROBABILITIES: signature(pixels=pixels)[features.PROBABILITIES]},
        input_signature=specification,
    )
    made, _ = tf2onnx.convert.from_function(function, input_signature=specification, opset=_OPSET)
    onnx.helper.set_model_props(made, {KEY: metadata.as_json()})
    onnx.save(made, str(target))
