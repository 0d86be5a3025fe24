"""Asks a server about pictures: by TensorFlow Serving's REST API, and by its gRPC API."""

import base64
from typing import Any, Final, Protocol

import grpc
import numpy as np
import requests
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from inception_finetune.components import features
from inception_finetune.components.infra_validator.refusal import Refusal
from inception_finetune.components.shown_text import visible

_HOST: Final = "127.0.0.1"
_AVAILABLE: Final = "AVAILABLE"
_END: Final = "END"
_LONGEST: Final = 200  # characters of the server's own words


class Client(Protocol):
    """A way to ask a server."""

    protocol: str  # as people read it

    def is_ready(self, seconds: float) -> bool:
        """Returns whether a version is available.

        Args:
          seconds: that the answer may take.

        Raises:
          Refusal: the server says that it cannot load the version.
        """

    def ask(self, signature: str, name: str, value: bytes, seconds: float) -> dict[str, Any]:
        """Asks about one picture.

        Args:
          signature: of the model.
          name: of its one input.
          value: of that input, for one picture.
          seconds: that the answer may take.

        Returns:
          The outputs `PROBABILITIES`, an array ``[classes]``, and `ERROR`, text.

        Raises:
          Refusal: the server does not answer it.
        """

    def close(self) -> None:
        """Ends the connection."""


class RestClient:
    """https://www.tensorflow.org/tfx/serving/api_rest."""

    protocol = "REST"

    def __init__(self, name: str, port: int) -> None:
        """Does not connect yet.

        Args:
          name: of the model.
          port: of loopback.
        """
        self._address = f"http://{_HOST}:{port}/v1/models/{name}"
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy would look for the server on its own machine

    def is_ready(self, seconds: float) -> bool:
        """As `Client`."""
        try:
            answer = self._session.get(self._address, timeout=seconds)
            states = answer.json()["model_version_status"] if answer.ok else []
        except (requests.RequestException, ValueError, KeyError):
            return False
        return _is_available(
            [(one["state"], one.get("status", {}).get("error_message", "")) for one in states]
        )

    def ask(self, signature: str, name: str, value: bytes, seconds: float) -> dict[str, Any]:
        """As `Client`."""
        row = {name: {"b64": base64.b64encode(value).decode()}}
        try:
            answer = self._session.post(
                f"{self._address}:predict",
                json={"signature_name": signature, "instances": [row]},
                timeout=seconds,
            )
        except requests.RequestException as error:
            raise Refusal(f"{signature} by REST was not answered ({_short(error)})") from error
        try:
            content = answer.json()
            if not answer.ok:
                raise Refusal(
                    f"{signature} by REST was refused with {answer.status_code} "
                    f"({_short(content['error'])})"
                )
            [found] = content["predictions"]
            return {
                features.PROBABILITIES: np.asarray(found[features.PROBABILITIES], np.float64),
                features.ERROR: str(found[features.ERROR]),
            }
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(
                f"{signature} by REST was answered with {answer.status_code} and no predictions "
                f"({_short(answer.text)})"
            ) from error

    def close(self) -> None:
        """As `Client`."""
        self._session.close()


class GrpcClient:
    """https://github.com/tensorflow/serving, tensorflow_serving/apis/prediction_service.proto."""

    protocol = "gRPC"

    def __init__(self, name: str, port: int) -> None:
        """Does not connect yet.

        Args:
          name: of the model.
          port: of loopback.
        """
        self._name = name
        self._channel = grpc.insecure_channel(
            f"{_HOST}:{port}",
            options=[
                ("grpc.enable_http_proxy", 0),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.initial_reconnect_backoff_ms", 200),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ],
        )
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def is_ready(self, seconds: float) -> bool:
        """As `Client`."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self._name
        try:
            answer = self._models.GetModelStatus(request, timeout=seconds)
        except grpc.RpcError:
            return False
        states = get_model_status_pb2.ModelVersionStatus.State
        return _is_available(
            [
                (states.Name(one.state), one.status.error_message)
                for one in answer.model_version_status
            ]
        )

    def ask(self, signature: str, name: str, value: bytes, seconds: float) -> dict[str, Any]:
        """As `Client`."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.model_spec.signature_name = signature
        request.inputs[name].CopyFrom(tf.make_tensor_proto([value], tf.string))
        try:
            outputs = self._predictions.Predict(request, timeout=seconds).outputs
            [probabilities] = tf.make_ndarray(outputs[features.PROBABILITIES])
            [unread] = tf.make_ndarray(outputs[features.ERROR])
        except grpc.RpcError as error:
            raise Refusal(
                f"{signature} by gRPC was not answered ({error.code().name}: "
                f"{_short(error.details())})"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(f"{signature} by gRPC was answered without predictions") from error
        return {
            features.PROBABILITIES: np.asarray(probabilities, np.float64),
            features.ERROR: unread.decode(errors="replace"),
        }

    def close(self) -> None:
        """As `Client`."""
        self._channel.close()


def _is_available(states: list[tuple[str, str]]) -> bool:
    if any(state == _AVAILABLE for state, _ in states):
        return True
    if states and all(state == _END and said for state, said in states):
        raise Refusal(f"the server cannot load it ({_short(states[0][1])})")
    return False


def _short(said: object) -> str:
    return visible(" ".join(str(said).split()))[:_LONGEST].rstrip(".")
