"""TensorFlow Serving's REST form: JSON to a signature's tensors, and answers to JSON.

https://www.tensorflow.org/tfx/serving/api_rest: rows are ``instances``, columns are ``inputs``;
``{"b64": ...}`` are bytes; outputs whose names end in ``_bytes`` go back as such.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.pipeline.serving.errors import RequestError

_DEFAULT_SIGNATURE: Final = "serving_default"
_B64: Final = "b64"
# Values of an answer: transform_features gives 268,000 for a picture, and a number in JSON takes
# some 30 times its four bytes on the way.
_MOST_VALUES: Final = 1 << 22


class Request(NamedTuple):
    """What is asked of which signature."""

    signature: str
    rows: Any  # the value of "instances", or None
    columns: Any  # the value of "inputs", or None


def parse_request(body: bytes) -> Request:
    """Reads the body of a POST to ``:predict``.

    Raises:
      RequestError: it is not JSON, or not of the form.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"JSON Parse error: {error}") from error
    if not isinstance(values, dict):
        raise RequestError(400, "Request payload must be a JSON object")
    signature = values.get("signature_name") or _DEFAULT_SIGNATURE
    if not isinstance(signature, str):
        raise RequestError(400, "'signature_name' key must be a string value")
    if ("instances" in values) == ("inputs" in values):
        raise RequestError(400, "Request must have one of the keys 'instances' and 'inputs'")
    rows, columns = values.get("instances"), values.get("inputs")
    if columns is None and not (isinstance(rows, list) and rows):
        raise RequestError(400, "'instances' must be a list with at least one row")
    return Request(signature, rows, columns)


class Answered(NamedTuple):
    """The answer to a request."""

    body: bytes  # JSON as TensorFlow Serving writes it
    examples: int
    unread: int  # examples that could not be read
    # The id of the likeliest class of each example, -1 where it could not be read; None where the
    # signature gives no probabilities.
    classes: list[int] | None


def answer_request(request: Request, signatures: Mapping[str, Any], most: int) -> Answered:
    """Runs a signature on the request's values.

    Args:
      request: the parsed request.
      signatures: of a SavedModel, by name.
      most: the largest number of examples in a request.

    Raises:
      RequestError: the values do not fit the signature, are too many, or the model refuses them.
    """
    signature = signatures.get(request.signature)
    if signature is None:
        raise RequestError(400, f'Serving signature name: "{request.signature}" not found')
    specs = signature.structured_input_signature[1]
    values = _columns(request, list(specs))
    inputs = {name: _tensor(name, value, specs[name]) for name, value in values.items()}
    count = max(
        (int(tensor.shape[0]) for tensor in inputs.values() if tensor.shape.rank), default=1
    )
    if count > most:
        raise RequestError(
            400, f"Request has {count} examples, more than {most}: send them in parts"
        )
    outputs = {name: value.numpy() for name, value in _run(signature, inputs).items()}
    if sum(value.size for value in outputs.values()) > _MOST_VALUES:
        raise RequestError(
            400, f"Answer has more than {_MOST_VALUES:,} values: send fewer examples"
        )
    unread = int(np.count_nonzero(outputs["error"] != b"")) if "error" in outputs else 0
    return Answered(_to_json(request, outputs), count, unread, _classes(outputs))


def _classes(outputs: Mapping[str, np.ndarray]) -> list[int] | None:
    shares = outputs.get(features.PROBABILITIES)
    if shares is None or shares.ndim != 2:  # noqa: PLR2004 - examples and classes
        return None
    likeliest = shares.argmax(axis=1)
    if features.ERROR in outputs:
        likeliest = np.where(outputs[features.ERROR] == b"", likeliest, -1)
    return [int(one) for one in likeliest]


def _run(signature: Any, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    try:
        return dict(signature(**inputs))
    except tf.errors.InvalidArgumentError as error:
        raise RequestError(400, _reason(error)) from error
    except tf.errors.OpError as error:
        raise RequestError(500, _reason(error)) from error


def _reason(error: tf.errors.OpError) -> str:
    """The operation's own words, without where in the graph it stands."""
    words = error.message.split("stack traces unavailable>")[-1].split("[[{{")[0]
    return " ".join(f"{type(error).__name__}: {words}".split())


def _columns(request: Request, names: list[str]) -> dict[str, Any]:
    """The values of each input; a signature of one input takes them without its name."""
    columns = request.columns
    if columns is None:
        named = [row for row in request.rows if isinstance(row, dict) and set(row) != {_B64}]
        if not named:
            columns = request.rows
        elif len(named) < len(request.rows) or any(set(row) != set(names) for row in named):
            raise RequestError(400, f"Each row of 'instances' must have the inputs {names}")
        else:
            return {name: [row[name] for row in named] for name in names}
    if isinstance(columns, dict) and set(columns) != {_B64}:
        if set(columns) != set(names):
            raise RequestError(400, f"'inputs' must have the inputs {names}")
        return columns
    if len(names) != 1:
        raise RequestError(400, f"Values must be named: the signature has the inputs {names}")
    return {names[0]: columns}


def _tensor(name: str, value: Any, spec: tf.TensorSpec) -> tf.Tensor:
    try:
        if spec.dtype == tf.string:
            value = _strings(value)
        tensor = tf.constant(value, spec.dtype)
    except RecursionError as error:
        raise RequestError(400, f"Input {name} is nested too deep") from error
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RequestError(
            400, f"Input {name} is not of type {spec.dtype.name}: {reason}"
        ) from error
    if not spec.shape.is_compatible_with(tensor.shape):
        raise RequestError(
            400, f"Input {name} has shape {tensor.shape}, and must have {spec.shape}"
        )
    return tensor


def _strings(value: Any) -> Any:
    if isinstance(value, list):
        return [_strings(item) for item in value]
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, dict) or set(value) != {_B64} or not isinstance(value[_B64], str):
        raise ValueError(f'neither text nor {{"{_B64}": …}}')
    try:
        return base64.b64decode(value[_B64], validate=True)
    except binascii.Error as error:
        raise ValueError(f"Unable to base64 decode ({error})") from error


def _to_json(request: Request, outputs: Mapping[str, np.ndarray]) -> bytes:
    columns = {name: _plain(name, value) for name, value in outputs.items()}
    single = next(iter(columns.values())) if len(columns) == 1 else None
    if request.rows is None:
        return json.dumps({"outputs": columns if single is None else single}).encode()
    if len({value.shape[:1] for value in outputs.values()}) != 1 or not all(
        value.ndim for value in outputs.values()
    ):
        raise RequestError(400, "Outputs differ in their number of rows: send 'inputs', not rows")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return json.dumps({"predictions": rows if single is None else single}).encode()


def _plain(name: str, value: np.ndarray) -> Any:
    """As JSON has it; a float32 gets the digits that tell it from its neighbours."""
    if value.dtype == np.float32:
        return value.astype("U32").astype(np.float64).tolist()
    if value.dtype == object:
        return _texts(value.tolist(), name.endswith("_bytes"))
    return value.tolist()


def _texts(value: Any, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_texts(item, as_bytes) for item in value]
    return {_B64: base64.b64encode(value).decode()} if as_bytes else value.decode(errors="replace")
