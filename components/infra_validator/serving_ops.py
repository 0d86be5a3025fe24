"""Operations of a SavedModel beside those of the oldest TensorFlow Serving that is promised.

A server refuses a graph with an operation that it does not know, or with an attribute that its
version of a known operation does not have. TensorFlow leaves attributes out that have their default
value, so that older servers can read what newer versions wrote.
"""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from tensorflow.core.protobuf import saved_model_pb2

# The image of TensorFlow Serving in our manifests (kubeflow.serving.image) is of this version. A
# TensorFlow Serving N is built with the operations of TensorFlow N; `OPERATIONS` is what
# TF_GetAllOpList of PyPI's tensorflow-cpu 2.19.1 returned: a name and its attributes a line.
OLDEST_SERVING: Final = "2.19"
OPERATIONS: Final = "tensorflow_2.19_operations.txt"
_NAMED: Final = 5  # in a message


def find_unknown_operations(directory: Path) -> tuple[str, ...]:
    """Lists what the oldest promised TensorFlow Serving could not load.

    Args:
      directory: the folder of the SavedModel.

    Returns:
      Names of operations, custom ones among them, and ``operation.attribute`` for attributes.
    """
    known = _operations()
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    unknown: set[str] = set()
    for graph in (meta_graph.graph_def for meta_graph in saved.meta_graphs):
        functions = {function.signature.name for function in graph.library.function}
        bodies = [graph.node, *(function.node_def for function in graph.library.function)]
        for node in (node for body in bodies for node in body):
            if node.op in functions:
                continue
            if node.op not in known:
                unknown.add(node.op)
                continue
            # Those that begin with "_" are hints that any version may ignore.
            unknown |= {
                f"{node.op}.{attribute}"
                for attribute in node.attr
                if not attribute.startswith("_") and attribute not in known[node.op]
            }
    return tuple(sorted(unknown))


def why_not_servable(unknown: tuple[str, ...]) -> str:
    """Says what `find_unknown_operations` found, at least one name, in part of a line."""
    more = len(unknown) - _NAMED
    named = ", ".join(unknown[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return (
        f"its SavedModel has operations that TensorFlow Serving {OLDEST_SERVING} lacks: {named}. "
        "Export it without them"
    )


@cache
def _operations() -> dict[str, frozenset[str]]:
    """Attributes by operation."""
    text = resources.files(__package__).joinpath(OPERATIONS).read_text("utf-8")
    return {
        name: frozenset(attributes)
        for name, *attributes in (line.split(" ") for line in text.splitlines())
    }
