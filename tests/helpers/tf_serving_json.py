"""TensorFlow Serving's REST form of predictions: JSON to a PredictRequest, and answers to JSON.

https://www.tensorflow.org/tfx/serving/api_rest: rows are `instances`, columns are `inputs`;
``{"b64": ...}`` are bytes; the bytes of an output whose name ends in ``_bytes`` go back as such.
"""

import base64
import json
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2


def parse(body: str) -> predict_pb2.PredictRequest:
    """The request that gRPC's server is given; an assertion fails where the REST API refuses it."""
    values = json.loads(body)
    rows, columns = values.get("instances"), values.get("inputs")
    assert (rows is None) != (columns is None), "one of instances and inputs"
    assert set(values) <= {"signature_name", "instances", "inputs"}
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = values.get("signature_name", "serving_default")
    if columns is None:
        assert isinstance(rows, list) and rows
        names = {tuple(sorted(row)) for row in rows}
        assert len(names) == 1, "every row has the same inputs"
        columns = {name: [row[name] for row in rows] for name in rows[0]}
    for name, items in columns.items():
        strings = [_bytes(item) for item in items]
        request.inputs[name].CopyFrom(tf.make_tensor_proto(strings, tf.string, [len(strings)]))
    return request


def answer(model: Any, body: str) -> dict[str, Any]:
    """What TensorFlow Serving answers, read back from its JSON."""
    request = parse(body)
    signature = model.signatures[request.model_spec.signature_name]
    expected = signature.structured_input_signature[1]
    assert set(request.inputs) == set(expected)
    inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
    outputs = {
        name: _plain(name, value.numpy().tolist()) for name, value in signature(**inputs).items()
    }
    if "inputs" in json.loads(body):
        return json.loads(json.dumps({"outputs": outputs}))
    (count,) = {len(column) for column in outputs.values()}
    rows = [{name: column[row] for name, column in outputs.items()} for row in range(count)]
    return json.loads(json.dumps({"predictions": rows}))


def _bytes(item: Any) -> bytes:
    if isinstance(item, dict):
        assert set(item) == {"b64"}
        return base64.b64decode(item["b64"], validate=True)
    assert isinstance(item, str)
    return item.encode()


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(name, item) for item in value]
    if isinstance(value, bytes):
        if name.endswith("_bytes"):
            return {"b64": base64.b64encode(value).decode()}
        return value.decode()
    # Its JSON writer has no more digits of a float32 than tell it from its neighbours.
    return float(np.float32(value)) if isinstance(value, float) else value
