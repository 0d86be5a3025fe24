"""The registry of formats that a pushed model is exported to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from inception_finetune.components.errors import UserError
from inception_finetune.components.export.metadata import ExportMetadata
from inception_finetune.components.export.onnx_conversion import convert_onnx
from inception_finetune.components.export.settings import ExportBound, ExportSection
from inception_finetune.components.export.tfjs_conversion import convert_tfjs
from inception_finetune.components.export.tflite_float16 import convert_float16
from inception_finetune.components.export.tflite_int8 import convert_int8

# Takes a loaded SavedModel, what the file is to say of itself, its path, decoded train pictures.
Convert = Callable[[Any, ExportMetadata, Path, Sequence[npt.NDArray[np.uint8]]], None]


@dataclass(frozen=True)
class ExportFormat:
    """How a format is written, and what its gate asks."""

    name: str  # on the command line and in the file's metadata
    file_name: str  # in the folder of exports
    convert: Convert
    bound_in: Callable[[ExportSection], ExportBound]


FORMATS: Final[dict[str, ExportFormat]] = {
    one.name: one
    for one in (
        ExportFormat("onnx", "model.onnx", convert_onnx, lambda section: section.onnx),
        ExportFormat(
            "tflite-float16",
            "model-float16.tflite",
            convert_float16,
            lambda section: section.tflite_float16,
        ),
        ExportFormat(
            "tflite-int8", "model-int8.tflite", convert_int8, lambda section: section.tflite_int8
        ),
        ExportFormat("tfjs", "model-tfjs.zip", convert_tfjs, lambda section: section.tfjs),
    )
}


def chosen_formats(text: str) -> tuple[ExportFormat, ...]:
    """Reads names of formats.

    Args:
      text: names with commas between them.

    Returns:
      The formats in that order, each once.

    Raises:
      UserError: a name is unknown.
    """
    names = dict.fromkeys(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in FORMATS]:
        raise UserError(
            f"Format {unknown[0]!r} of --format is unknown. Name some of {', '.join(FORMATS)}."
        )
    return tuple(FORMATS[name] for name in names)
