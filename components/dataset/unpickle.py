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

_MEMO_WRITES: Final = frozenset(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))
_MEMO_READS: Final = frozenset(("GET", "BINGET", "LONG_BINGET"))
_FRAMING: Final = frozenset(("PROTO", "FRAME"))
_TUPLES: Final = frozenset(("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE"))
_MOST: Final = 1000  # tuples, of which an array takes six; numbers that are
_LARGE: Final = 1 << 60  # or more, of which any number can be chosen to have the same hash
# What these make may stand in several places; of tuples no writer of arrays makes use of that.
_SHARED: Final = frozenset(
    ("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8")
    + ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "GLOBAL", "STACK_GLOBAL")
    + ("EMPTY_LIST", "LIST", "EMPTY_DICT", "DICT", "REDUCE")
)
_LARGEST_ITEM: Final = 8  # bytes, of an int64


def load_dictionary(data: bytes) -> dict[str, Any]:
    """Loads a pickled dictionary of built-in values and integer arrays.

    Keys become text, whether Python 2 or 3 wrote them; other byte strings stay bytes.

    Raises:
      UserError: it is damaged, or refers to anything else than integer arrays.
    """
    try:
        _check_instructions(data)
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


def _check_instructions(data: bytes) -> None:
    """Refuses what takes memory or time out of proportion to the data.

    Of a sparse memo an array is made up to its largest place: ten bytes could claim 32 GB. A key's
    hash is that of all that it holds: a tuple of the same tuple twice, and so on, takes for ever,
    and one of tuples in tuples more stack than there is.
    """
    last, tuples, large = "", 0, 0
    is_shared: dict[int, bool] = {}  # by place of the memo
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        name = opcode.name
        if name in _FRAMING:
            continue
        if name in _MEMO_WRITES:
            place = len(is_shared) if argument is None else argument
            if place > count:
                raise UserError(f"it claims place {place} of the memo at its instruction {count}")
            is_shared[place] = last in _SHARED
            continue
        tuples += name in _TUPLES
        large += isinstance(argument, int) and abs(argument) >= _LARGE
        if max(tuples, large) > _MOST:
            what = "tuples" if tuples > _MOST else "numbers of 2**60 or more"
            raise UserError(f"it has more than {_MOST:,} {what}, which no image batch needs")
        is_shared_tuple = name in _MEMO_READS and not is_shared.get(argument or 0, True)
        if name == "DUP" or is_shared_tuple:
            raise UserError("it has a value twice that is no text or list, as no image batch does")
        last = name


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
