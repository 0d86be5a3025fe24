"""What the formats of TFLite share: TensorFlow's converter, and the metadata."""

from pathlib import Path
from typing import Any

from inception_finetune.components import features
from inception_finetune.components.export.metadata import ExportMetadata
from inception_finetune.components.export.tflite_file import with_metadata


def converter_of(model: Any) -> Any:
    """Makes TensorFlow's converter of a model, which quantises what it is told to.

    Args:
      model: a loaded SavedModel with the signature ``predict_pixels``.

    Returns:
      A `tf.lite.TFLiteConverter`.
    """
    import tensorflow as tf

    signature = model.signatures[features.PREDICT_PIXELS]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([signature], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter


def write(content: bytes, metadata: ExportMetadata, target: Path) -> None:
    """Writes a TFLite file.

    Args:
      content: as the converter makes it.
      metadata: what the file is to say of itself.
      target: the file.
    """
    target.write_bytes(with_metadata(content, metadata))
