"""What the formats of TFLite share: TensorFlow's converter, and the metadata."""

from pathlib import Path
from typing import Any

from inception_finetune.components import features
from inception_finetune.components.export.metadata import ExportMetadata
from inception_finetune.components.export.tflite_file import with_metadata


def convert(model: Any, metadata: ExportMetadata, target: Path, **settings: Any) -> None:
    """Writes a TFLite file by TensorFlow's converter.

    Args:
      model: a loaded SavedModel with the signature ``predict_pixels``.
      metadata: what the file is to say of itself.
      target: the file.
      **settings: attributes of `tf.lite.TFLiteConverter`.
    """
    import tensorflow as tf

    signature = model.signatures[features.PREDICT_PIXELS]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([signature], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    for name, value in settings.items():
        setattr(converter, name, value)
    target.write_bytes(with_metadata(converter.convert(), metadata))
