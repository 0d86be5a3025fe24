"""Finds operations in a SavedModel that could harm this machine, without loading it.

A SavedModel is a program. Loading and calling one runs whatever operations it holds, and some read
or write files, open sockets or call back into Python. The list of names is strict: an honest module
with an operation that is not in it is refused.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from inception_finetune.components.backbone.module import GRAPH_FILE
from inception_finetune.components.errors import UserError

if TYPE_CHECKING:
    from tensorflow.core.framework.node_def_pb2 import NodeDef
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

# Normal in every SavedModel, where saving and restoring need them and nowhere else.
WRITING: Final = frozenset({"SaveV2", "MergeV2Checkpoints"})
CHECKPOINTING: Final = WRITING | {"RestoreV2", "ShardedFilename"}

# TensorFlow marks most operations with side effects as stateful, but not all (ReadFile is not):
# a stateful operation must be in this list, and no name may match the pattern below.
STATEFUL: Final = frozenset(
    (
        *("VarHandleOp", "ReadVariableOp", "VarIsInitializedOp", "DisableCopyOnRead"),
        *("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"),
        *("Variable", "VariableV2", "StatefulPartitionedCall", "If", "While", "Assert"),
        *("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal"),
    )
)
SUSPICIOUS: Final = re.compile(
    "File|Dataset|PyFunc|Snapshot|Debug|Iterator|Rpc|Save|Restore|Checkpoint|Summary|Dump|Send"
    "|Recv|Vocab|Remap|Print|Custom"
)
INITIALISERS: Final = ("saved_model_main_op", "legacy_init_op")  # run when the module is loaded


def read_saved_model(directory: Path) -> "SavedModel":
    """Parses the `saved_model.pb` of a directory.

    Raises:
        UserError: it is not a SavedModel.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved_model = SavedModel()
    try:
        saved_model.ParseFromString((directory / GRAPH_FILE).read_bytes())
    except DecodeError as error:
        raise UserError(
            f"{directory / GRAPH_FILE} is not a SavedModel: it cannot be parsed ({error}). "
            "Fetch the module again."
        ) from error
    if not saved_model.meta_graphs:
        raise UserError(
            f"{directory / GRAPH_FILE} is not a SavedModel: it holds no graph. Fetch the "
            "module again."
        )
    return saved_model


def refuse_unsafe(saved_model: "SavedModel", directory: Path) -> None:
    """Refuses graphs that hold file, network or Python operations besides saving and restoring.

    Raises:
        UserError: names the operations.
    """
    refused = set()
    for meta_graph in saved_model.meta_graphs:
        refused |= _unsafe_operations(meta_graph)
    if refused:
        raise UserError(
            f"Module in {directory} was not loaded: it holds operations that can touch files, "
            "the network or Python, or that TensorFlow does not know: "
            f"{', '.join(sorted(refused))}. Take a module from a source that you trust."
        )


def _unsafe_operations(meta_graph: "MetaGraphDef") -> set[str]:
    graph = _Graph(meta_graph)
    refused = {operation for operation in graph.operations() if not _is_harmless(operation)}
    running, restoring = graph.running(), graph.restoring()
    refused |= {f"{name} outside of saving" for name in running & CHECKPOINTING}
    return refused | {f"{name} while restoring" for name in restoring & WRITING}


def _is_harmless(operation: str) -> bool:
    from tensorflow.python.framework import op_def_registry

    if operation in CHECKPOINTING or operation in STATEFUL:
        return True
    definition = op_def_registry.get(operation)
    return (
        definition is not None and not definition.is_stateful and not SUSPICIOUS.search(operation)
    )


class _Graph:
    """The operations of a graph, and which of them run on calling and on restoring."""

    def __init__(self, meta_graph: "MetaGraphDef") -> None:
        self._meta_graph = meta_graph
        self._nodes = {node.name: node for node in meta_graph.graph_def.node}
        self._functions = {
            function.signature.name: list(function.node_def)
            for function in meta_graph.graph_def.library.function
        }

    def operations(self) -> set[str]:
        bodies = [self._nodes.values(), *self._functions.values()]
        return {node.op for nodes in bodies for node in nodes} - self._functions.keys()

    def running(self) -> set[str]:
        """Operations that loading or calling the module can run."""
        tensors = [
            tensor.name
            for signature in self._meta_graph.signature_def.values()
            for tensor in signature.outputs.values()
        ]
        for key in INITIALISERS:
            tensors += self._meta_graph.collection_def[key].node_list.value
        return self._reachable(tensors, self._meta_graph.object_graph_def.concrete_functions)

    def restoring(self) -> set[str]:
        """Operations that restoring the variables runs."""
        return self._reachable([self._meta_graph.saver_def.restore_op_name], ())

    def _reachable(self, tensors: Iterable[str], functions: Iterable[str]) -> set[str]:
        pending = [*(self._nodes.get(_node_name(tensor)) for tensor in tensors)]
        seen_functions: set[str] = set()
        seen_nodes: set[str] = set()
        operations: set[str] = set()

        def enter(names: Iterable[str]) -> None:
            for name in names:
                if name in self._functions and name not in seen_functions:
                    seen_functions.add(name)
                    for node in self._functions[name]:
                        operations.add(node.op)
                        enter(_called_functions(node))

        enter(functions)
        while pending:
            node = pending.pop()
            if node is None or node.name in seen_nodes:
                continue
            seen_nodes.add(node.name)
            operations.add(node.op)
            enter(_called_functions(node))
            pending += [self._nodes.get(_node_name(name)) for name in node.input]
        return operations


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").split(":", 1)[0]


def _called_functions(node: "NodeDef") -> Iterator[str]:
    yield node.op  # a function may be called as if it were an operation
    for attribute in node.attr.values():
        yield attribute.func.name
        yield from (function.name for function in attribute.list.func)
