"""TensorFlow.js in float32: a SavedModel's signature of pixels becomes a graph model in a zip.

https://github.com/tensorflow/tfjs/blob/master/tfjs-core/src/io/types.ts (ModelJSON). A graph model
and not one of layers: no layer crops and scales pictures as Transform does.
"""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from inception_finetune.components import features
from inception_finetune.components.backbone.weights.tfjs import MANIFEST, MODEL_FILE, TYPES
from inception_finetune.components.export.metadata import KEY, ExportMetadata

if TYPE_CHECKING:
    from tensorflow.core.framework.graph_pb2 import GraphDef

GRAPH_MODEL: Final = "graph-model"
_SHARD_BYTES: Final = 4 << 20  # browsers keep files of this size in their cache
# TensorFlow.js has no fused operations of oneDNN, which the optimizer "remap" would make.
_OPTIMIZERS: Final = ("constfold", "arithmetic", "dependency", "pruning", "constfold", "dependency")


def convert_tfjs(
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
    from google.protobuf import json_format

    graph, pixels, probabilities = _frozen(model)
    weights = _taken_out(graph)
    content = b"".join(value.tobytes() for value in weights.values())
    starts = range(0, len(content), _SHARD_BYTES)
    shards = [f"group1-shard{number}of{len(starts)}.bin" for number in range(1, len(starts) + 1)]
    description = {
        "format": GRAPH_MODEL,
        "generatedBy": tf.__version__,
        "convertedBy": KEY,
        "userDefinedMetadata": {KEY: metadata.as_json()},
        "signature": {
            "inputs": {features.PIXELS: {"name": pixels, "dtype": "DT_INT32"}},
            "outputs": {features.PROBABILITIES: {"name": probabilities, "dtype": "DT_FLOAT"}},
        },
        "modelTopology": json_format.MessageToDict(graph),
        MANIFEST: [
            {
                "paths": shards,
                "weights": [
                    {"name": name, "shape": list(value.shape), "dtype": _kind(value)}
                    for name, value in weights.items()
                ],
            }
        ],
    }
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(MODEL_FILE, json.dumps(description))
        for name, start in zip(shards, starts, strict=True):
            archive.writestr(name, content[start : start + _SHARD_BYTES])


def _frozen(model: Any) -> tuple["GraphDef", str, str]:
    """Returns the signature's graph with its variables as constants, its input and its output."""
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )
    from tensorflow.python.grappler import tf_optimizer

    signature = model.signatures[features.PREDICT_PIXELS]
    specification = tf.TensorSpec([None, None, None, features.CHANNELS], tf.uint8, features.PIXELS)
    function = tf.function(
        lambda pixels: signature(pixels=pixels)[features.PROBABILITIES],
        input_signature=[specification],
    )
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    [pixels], [probabilities] = frozen.inputs, frozen.outputs
    meta_graph = tf.compat.v1.train.export_meta_graph(
        graph_def=frozen.graph.as_graph_def(), graph=frozen.graph
    )
    fetched = meta_graph_pb2.CollectionDef()
    fetched.node_list.value.append(probabilities.name)
    meta_graph.collection_def["train_op"].CopyFrom(fetched)  # so the optimizer keeps it
    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.optimizers[:] = _OPTIMIZERS
    rewriting.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    return tf_optimizer.OptimizeGraph(config, meta_graph), pixels.name, probabilities.name


def _taken_out(graph: "GraphDef") -> dict[str, npt.NDArray[Any]]:
    """Takes the constants out of a graph; JavaScript has no integers of 64 bits."""
    import tensorflow as tf

    weights = {}
    for node in graph.node:
        if node.op != "Const":
            continue
        value = tf.make_ndarray(node.attr["value"].tensor)
        if value.dtype == np.int64:
            value = _as_int32(value)
        weights[node.name] = value.astype(TYPES[_kind(value)])
        emptied = tf.make_tensor_proto([], node.attr["dtype"].type)
        node.attr["value"].tensor.CopyFrom(emptied)
    return weights


def _as_int32(value: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    limits = np.iinfo(np.int32)
    return np.clip(value, limits.min, limits.max).astype(np.int32)  # "all" of a slice is the limit


def _kind(value: npt.NDArray[Any]) -> str:
    return "bool" if value.dtype == np.bool_ else value.dtype.newbyteorder("=").name
