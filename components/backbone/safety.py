"""Finds operations in a SavedModel that could harm this machine, without loading it.

A SavedModel is a program. Loading and calling one runs whatever operations it holds, and some read
or write files, open sockets, end the process or never end. Those that a network for pictures needs
are listed; a module with any other is refused.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from inception_finetune.components.backbone.allowed_operations import ALLOWED
from inception_finetune.components.backbone.module import GRAPH_FILE
from inception_finetune.components.errors import UserError

if TYPE_CHECKING:
    from tensorflow.core.framework.attr_value_pb2 import AttrValue
    from tensorflow.core.framework.node_def_pb2 import NodeDef
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

# Normal in every SavedModel, where saving and restoring need them and nowhere else.
WRITING: Final = frozenset({"SaveV2", "MergeV2Checkpoints"})
CHECKPOINTING: Final = WRITING | {"RestoreV2", "ShardedFilename"}

INITIALISERS: Final = ("saved_model_main_op", "legacy_init_op")  # run when the module is loaded
DEEPEST: Final = 50  # functions that call each other; those of Keras' SavedModels nest 3 deep
# Operations that one call runs, functions counted as often as they are called. Keras' InceptionV3
# has 3,000.
LONGEST: Final = 1_000_000
NAMED: Final = 10  # operations in a message


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
    """Refuses graphs with an operation that a network for pictures does not need.

    Args:
        saved_model: as `read_saved_model` returns it.
        directory: of the module, for messages.

    Raises:
        UserError: names the operations; or functions call each other in a circle, too deeply or
            too often.
    """
    refused: set[str] = set()
    for meta_graph in saved_model.meta_graphs:
        graph = _Graph(meta_graph)
        refused |= _unsafe_operations(graph)
        if problem := graph.endless():
            raise UserError(
                f"Module in {directory} was not loaded: {problem}. Take a module from a source "
                "that you trust."
            )
    if refused:
        shown = ", ".join(_printable(name) for name in sorted(refused)[:NAMED])
        more = f" and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
        raise UserError(
            f"Module in {directory} was not loaded: it holds operations that no network for "
            "pictures needs, which could touch files, the network or Python, or never end: "
            f"{shown}{more}. Take a module from a source that you trust."
        )


def _unsafe_operations(graph: "_Graph") -> set[str]:
    from tensorflow.python.framework import op_def_registry

    refused = graph.operations() - ALLOWED - CHECKPOINTING
    # A function of this name would hide the operation from the line above.
    refused |= {
        f"a function named {name}"
        for name in graph.functions
        if op_def_registry.get(name) is not None
    }
    running, restoring = graph.running(), graph.restoring()
    refused |= {f"{name} outside of saving" for name in running & CHECKPOINTING}
    return refused | {f"{name} while restoring" for name in restoring & WRITING}


def _printable(name: str) -> str:
    return name if name.isprintable() and len(name) <= 100 else f"{name[:100]!r}"


class _Graph:
    """The operations of a graph, and which of them run on calling and on restoring."""

    def __init__(self, meta_graph: "MetaGraphDef") -> None:
        self._meta_graph = meta_graph
        # A hostile file may name two alike.
        self._nodes: defaultdict[str, list[NodeDef]] = defaultdict(list)
        for node in meta_graph.graph_def.node:
            self._nodes[node.name].append(node)
        self.functions: defaultdict[str, list[NodeDef]] = defaultdict(list)
        for function in meta_graph.graph_def.library.function:
            self.functions[function.signature.name] += function.node_def

    def operations(self) -> set[str]:
        bodies = [*self._nodes.values(), *self.functions.values()]
        return {node.op for nodes in bodies for node in nodes} - self.functions.keys()

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

    def endless(self) -> str | None:
        """Says why a call of the graph might never end; TensorFlow would expand each function."""
        calls = {
            name: [called for node in body for called in _called_functions(node, self.functions)]
            for name, body in self.functions.items()
        }
        depths: dict[str, int] = {}
        lengths: dict[str, int] = {}
        for name in _innermost_first(calls):
            called = calls[name]
            if not all(other in depths for other in called):
                return f"its function {_printable(name)} calls itself"
            depths[name] = 1 + max((depths[other] for other in called), default=0)
            lengths[name] = len(self.functions[name]) + sum(lengths[other] for other in called)
            if depths[name] > DEEPEST:
                return f"more than {DEEPEST} of its functions call each other"
            if lengths[name] > LONGEST:
                return f"a call of it runs more than {LONGEST:,} operations"
        return None

    def _reachable(self, tensors: Iterable[str], functions: Iterable[str]) -> set[str]:
        pending = [_node_name(tensor) for tensor in tensors]
        pending_functions = [name for name in functions if name in self.functions]
        seen: set[str] = set()
        seen_functions: set[str] = set()
        operations: set[str] = set()
        while pending or pending_functions:
            if pending_functions:
                name, known, bodies = pending_functions.pop(), seen_functions, self.functions
            else:
                name, known, bodies = pending.pop(), seen, self._nodes
            if name in known or name not in bodies:
                continue
            known.add(name)
            for node in bodies[name]:
                operations.add(node.op)
                pending_functions += _called_functions(node, self.functions)
                if known is seen:
                    pending += map(_node_name, node.input)
        return operations


def _innermost_first(calls: Mapping[str, list[str]]) -> list[str]:
    """Orders functions so that each comes after those that it calls, unless they are in a circle.

    It is no recursion: a file can nest its functions more deeply than Python can call.
    """
    order: list[str] = []
    entered: set[str] = set()
    for start in calls:
        pending = [(start, iter(calls[start]))] if start not in entered else []
        entered.add(start)
        while pending:
            name, others = pending[-1]
            other = next((one for one in others if one not in entered), None)
            if other is None:
                order.append(pending.pop()[0])
            else:
                entered.add(other)
                pending.append((other, iter(calls[other])))
    return order


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").split(":", 1)[0]


def _called_functions(node: "NodeDef", functions: Mapping[str, object]) -> Iterator[str]:
    if node.op in functions:  # a function may be called as if it were an operation
        yield node.op
    for attribute in node.attr.values():
        yield from _named_functions(attribute, functions)


def _named_functions(attribute: "AttrValue", functions: Mapping[str, object]) -> Iterator[str]:
    """Iterates over the functions in an attribute; one may be an attribute of another's call."""
    for function in (attribute.func, *attribute.list.func):
        if function.name in functions:
            yield function.name
        for inner in function.attr.values():
            yield from _named_functions(inner, functions)
