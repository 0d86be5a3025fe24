"""A server with TensorFlow Serving's two APIs and its flags, for one version of a SavedModel.

``python -m helpers.model_server --port=N --rest_api_port=N --model_name=X --model_base_path=DIR``
loads the model with TensorFlow and answers gRPC by the real protos and services.
"""

import argparse
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from helpers.tf_serving_json import answer


class Service(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    def __init__(self, name: str, model) -> None:
        self.name, self.model = name, model

    def _require_name(self, request, context) -> None:
        if request.model_spec.name != self.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model_spec.name}")

    def Predict(self, request, context):  # noqa: N802 - the proto's name
        self._require_name(request, context)
        signature = self.model.signatures[request.model_spec.signature_name]
        inputs = {name: tf.constant(tf.make_ndarray(one)) for name, one in request.inputs.items()}
        answered = predict_pb2.PredictResponse()
        for name, value in signature(**inputs).items():
            answered.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return answered

    def GetModelStatus(self, request, context):  # noqa: N802 - the proto's name
        self._require_name(request, context)
        state = get_model_status_pb2.ModelVersionStatus(
            version=1, state=get_model_status_pb2.ModelVersionStatus.AVAILABLE
        )
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=[state])


def rest_handler(name: str, model) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _send(self, status: int, content) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def do_GET(self) -> None:  # noqa: N802
            found = self.path == f"/v1/models/{name}"
            states = [{"version": "1", "state": "AVAILABLE", "status": {}}]
            self._send(200 if found else 404, {"model_version_status": states if found else []})

        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            assert self.path == f"/v1/models/{name}:predict"
            self._send(200, answer(model, body))

        def log_message(self, *arguments) -> None:
            pass

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag in ("--port", "--rest_api_port"):
        parser.add_argument(flag, type=int)
    for flag in ("--model_name", "--model_base_path"):
        parser.add_argument(flag, required=True)
    given = parser.parse_args()
    [version] = Path(given.model_base_path).iterdir()
    model = tf.saved_model.load(str(version))
    if given.port:
        server = grpc.server(ThreadPoolExecutor(2))
        service = Service(given.model_name, model)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
        assert server.add_insecure_port(f"127.0.0.1:{given.port}") == given.port
        server.start()
    if given.rest_api_port:
        handler = rest_handler(given.model_name, model)
        rest = ThreadingHTTPServer(("127.0.0.1", given.rest_api_port), handler)
        threading.Thread(target=rest.serve_forever, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
