"""Reads pickled dictionaries from untrusted sources, without calling anything that they name.

Unpickling calls what the file names, with arguments from the file. Here nothing of NumPy is called:
placeholder objects record what the file says of an array, and the array is built from that once all
of it has been checked.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import reprlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from inception_finetune.components.errors import UserError

_MEMO_WRITES: Final = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_LARGEST_ITEM: Final = 8  # bytes, of an int64


def load_dictionary(data: bytes) -> dict[str, Any]:
    """Loads a pickled dictionary of built-in values and integer arrays.

    Keys become text, whether Python 2 or 3 wrote them; other byte strings stay bytes.

    Raises:
      UserError: it is damaged, or refers to anything else than integer arrays.
    """
    try:
        _check_memo(data)
        content = _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(content, dict):
            raise UserError(f"it holds {describe(content)}, not a dictionary")
        return {text(key): _array(value) for key, value in content.items()}
    except UserError:
        raise
    except Exception as error:  # pickle documents that damaged data may raise anything
        raise UserError(
            "it is no readable pickle of a dictionary: "
            + " ".join(f"{type(error).__name__}: {error}".split())
        ) from error


def text(value: Any) -> str:
    """Returns Python 2's byte strings and Python 3's text alike as text.

    Raises:
      UserError: `value` is neither.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, str):
        return value
    raise UserError(f"{describe(value)} is not text, as a name is")


def describe(value: Any) -> str:
    """Returns a short form of any value that a pickle may hold, however long or deep it is."""
    try:
        return reprlib.repr(value)
    except (ValueError, RecursionError):  # repr() refuses numbers of thousands of digits
        return f"a {type(value).__name__}"


def _check_memo(data: bytes) -> None:
    """Refuses a sparse memo: an array up to its largest index, ten bytes could claim 32 GB."""
    for count, (opcode, place, _) in enumerate(pickletools.genops(data)):
        if opcode.name in _MEMO_WRITES and place is not None and place > count:
            raise UserError(f"it claims place {place} of the memo at its instruction {count}")


class _ArrayUnpickler(pickle.Unpickler):
    """Admits what builds an array, under NumPy 1's and 2's names, and how Python 3 writes bytes."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        # Made anew for each reference, since a pickle may set the attributes of what it names.
        match module, name:
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
                return lambda *_: _PickledArray()
            case "numpy", "dtype":
                return lambda code, *_: _PickledType(code)
            case "numpy", "ndarray":
                return lambda *_: _refuse_call("numpy.ndarray")
            case "_codecs", "encode":
                return _latin1
            case "__builtin__", "bytes":
                return lambda: b""  # of an empty array
        raise UserError(f"it refers to {describe(f'{module}.{name}')}, which no image batch needs")


def _refuse_call(name: str) -> None:
    raise UserError(f"it calls {name}, which no image batch needs")


def _latin1(value: str, encoding: str) -> bytes:
    if not isinstance(value, str) or encoding != "latin1":
        raise UserError(f"it encodes text as {describe(encoding)}, which no image batch needs")
    return value.encode("latin1")


class _PickledType:
    """An element type; only integers have a use in a batch."""

    def __init__(self, code: Any) -> None:
        code = text(code)
        dtype = np.dtype(code) if code[:1] in ("i", "u") and code[1:].isdecimal() else None
        if dtype is None or dtype.itemsize > _LARGEST_ITEM:
            raise UserError(f"its arrays have the type {describe(code)}, not whole numbers")
        self.dtype = dtype

    def __setstate__(self, state: Any) -> None:
        """`state` is (version, byte order, subtype, names, fields, …)."""
        order, *structure = state[1:5]
        if any(part is not None for part in structure):
            raise UserError("its arrays have a structured type, not whole numbers")
        self.dtype = self.dtype.newbyteorder(text(order))


class _PickledArray:
    """An array: NumPy creates an empty one, which then receives this state."""

    array: npt.NDArray[Any] | None = None

    def __repr__(self) -> str:
        return "an array"

    def __setstate__(self, state: Any) -> None:
        """`state` is (version, shape, element type, whether in Fortran's order, elements)."""
        _, shape, element, fortran, elements = state
        dtype = element.dtype
        if not all(isinstance(length, int) and length >= 0 for length in shape):
            raise UserError(f"it has an array of a negative length: {describe(shape)}")
        expected = math.prod(shape) * dtype.itemsize
        if len(elements) != expected:
            raise UserError(
                f"it has {len(elements)} bytes for an array of shape {describe(shape)}, which "
                f"takes {expected}"
            )
        self.array = np.frombuffer(elements, dtype).reshape(shape, order="F" if fortran else "C")


def _array(value: Any) -> Any:
    return value.array if isinstance(value, _PickledArray) else value
