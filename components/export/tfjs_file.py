"""Asks zips of TensorFlow.js graph models: TensorFlow computes what the file holds.

TensorFlow.js itself runs in JavaScript alone. Graph and weights are the file's own, so that a
conversion that went wrong is seen; the kernels are not those of a browser.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from inception_finetune.components import features
from inception_finetune.components.backbone.allowed_operations import ALLOWED
from inception_finetune.components.backbone.foreign import read_json
from inception_finetune.components.backbone.weights.tfjs import stored_weights, unpacked
from inception_finetune.components.export.metadata import KEY, ExportMetadata

if TYPE_CHECKING:
    from tensorflow.core.framework.graph_pb2 import GraphDef

SUFFIX: Final = ".zip"


class TfjsFile:
    """A zip with a graph model that answers pixels."""

    def __init__(self, path: Path) -> None:
        """Loads the file.

        Args:
          path: of the file.

        Raises:
          UserError: it was not written by this package, or leads outside itself.
          Exception: it is damaged; each kind of damage has an exception of its own.
        """
        import tensorflow as tf

        with unpacked(path) as file:
            model = read_json(file)
            texts = model.get("userDefinedMetadata") or {}
            self.metadata = ExportMetadata.of(texts.get(KEY), str(path))
            stored = stored_weights(model, file, path)
            graph = _graph(model["modelTopology"], {n: one.load() for n, one in stored.items()})
        signature = model["signature"]
        pixels = signature["inputs"][features.PIXELS]["name"]
        probabilities = signature["outputs"][features.PROBABILITIES]["name"]
        imported = tf.compat.v1.wrap_function(
            lambda: tf.graph_util.import_graph_def(graph, name=""), []
        )
        self._ask = imported.prune(pixels, probabilities)

    def probabilities(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Classifies pictures of one size.

        Args:
          pixels: ``[N, H, W, 3]`` uint8, RGB.

        Returns:
          ``[N, classes]`` float32.
        """
        import tensorflow as tf

        return np.asarray(self._ask(tf.constant(pixels)))


def _graph(topology: dict[str, Any], weights: dict[str, npt.NDArray[Any]]) -> "GraphDef":
    """Returns the graph with its constants.

    Raises:
      ValueError: it has operations that no network for pictures needs.
    """
    import tensorflow as tf
    from google.protobuf import json_format
    from tensorflow.core.framework.graph_pb2 import GraphDef

    graph = json_format.ParseDict(topology, GraphDef())
    refused = {node.op for node in graph.node} - ALLOWED
    if refused or graph.library.function:
        raise ValueError(f"it has operations that no network needs: {sorted(refused)[:3]}")
    for node in graph.node:
        if node.op == "Const":
            tensor = tf.make_tensor_proto(weights[node.name], node.attr["dtype"].type)
            node.attr["value"].tensor.CopyFrom(tensor)
    return graph
