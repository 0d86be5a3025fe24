"""TFLite with weights and activations in 8 bits, whose ranges are measured on train pictures.

The first convolutions and the head stay in float32: they hold 1 % of the weights, and most of what
8 bits change of the answers comes from the first ones, whose errors all others are given.
"""

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from inception_finetune.components.errors import UserError
from inception_finetune.components.export import tflite_conversion
from inception_finetune.components.export.metadata import ExportMetadata

# Share of the weights that the first convolutions, and the head, may keep in float32.
_FLOAT_SHARE: Final = 0.01
_FLOAT_OPERATIONS: Final = ("MEAN", "SOFTMAX")  # around the head; they have no weights


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

    import tensorflow as tf

    def pictures() -> Iterator[list[npt.NDArray[np.uint8]]]:
        for pixels in calibration:
            yield [pixels[np.newaxis]]

    converter = tflite_conversion.converter_of(model)
    converter.representative_dataset = pictures
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that its interpreter is deprecated
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=pictures
        )
        debugger.options = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=list(_FLOAT_OPERATIONS),
            denylisted_nodes=float_nodes(debugger.calibrated_model),
        )
        content = debugger.get_nondebug_quantized_model()
    tflite_conversion.write(content, metadata, target)


def float_nodes(content: bytes) -> list[str]:
    """Names the operations with weights that stay in float32.

    Args:
      content: of a TFLite file in float32.

    Returns:
      The convolutions from the input to where the network first branches, and the dense layers of
      the head, each of both kinds as far as they hold at most `_FLOAT_SHARE` of the weights.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    [graph] = model.subgraphs
    kinds = [model.operatorCodes[one.opcodeIndex].builtinCode for one in graph.operators]
    convolution, dense = schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED
    weights = {
        place: math.prod(graph.tensors[graph.operators[place].inputs[1]].shape)
        for place, kind in enumerate(kinds)
        if kind in (convolution, dense)
    }
    readers = Counter(tensor for one in graph.operators for tensor in one.inputs)
    first: list[int] = []
    for place, operation in enumerate(graph.operators):
        if kinds[place] == convolution:
            first.append(place)
        if first and readers[operation.outputs[0]] > 1:
            break
    head = [place for place in weights if kinds[place] == dense]
    most = _FLOAT_SHARE * sum(weights.values())
    kept = [*_within(most, first, weights), *_within(most, head, weights)]
    return [graph.tensors[graph.operators[place].outputs[0]].name.decode() for place in kept]


def _within(most: float, places: Sequence[int], weights: dict[int, int]) -> list[int]:
    """The first places whose weights together are no more than `most`."""
    total, kept = 0, []
    for place in places:
        total += weights[place]
        if total > most:
            break
        kept.append(place)
    return kept
