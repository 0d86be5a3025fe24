"""Asks a model through a real server, compares, and measures what that takes."""

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.components.infra_validator.client import Client, GrpcClient, RestClient
from inception_finetune.components.infra_validator.refusal import Refusal
from inception_finetune.components.infra_validator.server import (
    Server,
    shown_server,
    started_server,
)
from inception_finetune.components.infra_validator.serving_ops import (
    OLDEST_SERVING,
    find_unknown_operations,
    why_not_servable,
)
from inception_finetune.components.infra_validator.settings import InfraSection, ServerCheck
from inception_finetune.components.shown_text import visible

_PREDICT_IMAGES: Final = "predict_images"
_SERVING_DEFAULT: Final = "serving_default"
_VERSION: Final = "1"
_POLL: Final = 0.1  # seconds between two looks whether it is ready
_HEALTH: Final = 5.0  # seconds in which such a look is answered
# After the comparison, pictures are asked again for the percentiles.
_MOST_REQUESTS: Final = 100
_MOST_SECONDS: Final = 3.0
_BODY_PER_BYTE: Final = 4 / 3  # base64


class StoredAnswer(NamedTuple):
    """A test picture, and what the exported model itself has said of it."""

    id: str
    encoded: bytes  # PNG or JPEG
    probabilities: npt.NDArray[np.float32]  # [classes], as TestPredictions stored them


def check_server(
    model: Path, pictures: Sequence[StoredAnswer], name: str, settings: InfraSection, scratch: Path
) -> ServerCheck:
    """Serves a model from a clean folder, and asks it about pictures.

    Args:
      model: the folder of the SavedModel that is to be pushed.
      pictures: at least one.
      name: of the model.
      settings: which server, and what it may take.
      scratch: an empty folder, for the version that is served.

    Returns:
      What was measured, and why it is refused if it is.

    Raises:
      UserError: the server's program is not there.
    """
    found: dict[str, Any] = {}
    refusal = None
    try:
        if unknown := find_unknown_operations(model):
            raise Refusal(why_not_servable(unknown))
        versions = scratch / name
        shutil.copytree(model, versions / _VERSION)
        largest = int(_BODY_PER_BYTE * max(len(one.encoded) for one in pictures))
        with started_server(name, versions, settings, scratch, largest) as server:
            try:
                _ask(server, name, pictures, settings, found)
                server.require_ended_by_us()
            finally:
                found["peak_memory_bytes"] = server.end().peak
    except Refusal as error:
        refusal = f"{error}."
        if settings.max_memory is not None and "max_memory" not in refusal:
            # What it was refused by the kernel shows in its own words at most.
            refusal += f" It ran with infra.max_memory={settings.max_memory:g}."
    return ServerCheck(
        server=shown_server(settings),
        refusal=refusal,
        oldest_serving=OLDEST_SERVING,
        tolerance=settings.tolerance,
        **found,
    )


def _ask(
    server: Server,
    name: str,
    pictures: Sequence[StoredAnswer],
    settings: InfraSection,
    found: dict[str, Any],
) -> None:
    """Puts what it measures into `found`, so that it is there if a later question fails.

    Raises:
      Refusal: the model is not to be pushed.
    """
    with ExitStack() as stack:
        clients: list[Client] = []
        if server.rest_port:
            clients.append(stack.enter_context(closing(RestClient(name, server.rest_port))))
        if server.grpc_port:
            clients.append(stack.enter_context(closing(GrpcClient(name, server.grpc_port))))
        for client in clients:
            while not client.is_ready(min(_HEALTH, server.remaining())):
                time.sleep(_POLL)
        found["load_seconds"] = time.monotonic() - server.started
        found["protocols"] = tuple(client.protocol for client in clients)
        found["pictures"] = len(pictures)
        first = time.monotonic()
        _answer(server, clients[0], pictures[0])
        found["first_answer_ms"] = 1000 * (time.monotonic() - first)
        found["largest_difference"] = 0.0
        for client in clients:
            for picture in pictures:
                _compare(_answer(server, client, picture), picture, client, settings, found)
            example = _as_example(pictures[0])
            answer = _answer(server, client, pictures[0], _SERVING_DEFAULT, "examples", example)
            _compare(answer, pictures[0], client, settings, found)
        found |= _latency(server, clients[0], pictures)


def _answer(
    server: Server,
    client: Client,
    picture: StoredAnswer,
    signature: str = _PREDICT_IMAGES,
    name: str = "images",
    value: bytes | None = None,
) -> dict[str, Any]:
    """The outputs for one picture, of which `value` is the input if it is not its file."""
    value = picture.encoded if value is None else value
    try:
        return client.ask(signature, name, value, server.remaining())
    except Refusal as error:
        server.require_running()  # that it has ended, or its time, is the better reason
        raise Refusal(f"test picture {visible(picture.id)}: {error}. Mend the server") from error


def _compare(
    answer: dict[str, Any],
    picture: StoredAnswer,
    client: Client,
    settings: InfraSection,
    found: dict[str, Any],
) -> None:
    which = f"test picture {visible(picture.id)} by {client.protocol}"
    if answer[features.ERROR]:
        raise Refusal(f"{which} was not read ({answer[features.ERROR]}). Train it again")
    probabilities = answer[features.PROBABILITIES]
    if probabilities.shape != picture.probabilities.shape:
        raise Refusal(
            f"{which} got probabilities of shape {probabilities.shape}, not "
            f"{picture.probabilities.shape}. Look for another model behind that address"
        )
    difference = float(np.abs(probabilities - picture.probabilities).max())
    found["largest_difference"] = max(found["largest_difference"], difference)
    if not difference <= settings.tolerance:  # NaN is refused
        raise Refusal(
            f"{which} got a probability that differs by {difference:.2g} from TestPredictions', "
            f"more than infra.tolerance={settings.tolerance:g}. Find out why, or raise it"
        )


def _latency(server: Server, client: Client, pictures: Sequence[StoredAnswer]) -> dict[str, Any]:
    """Percentiles of the time that the answer to one picture takes, asked one after the other."""
    until = time.monotonic() + _MOST_SECONDS
    milliseconds: list[float] = []
    while len(milliseconds) < _MOST_REQUESTS:
        picture = pictures[len(milliseconds) % len(pictures)]
        started = time.monotonic()
        _answer(server, client, picture)
        milliseconds.append(1000 * (time.monotonic() - started))
        if time.monotonic() > min(until, server.deadline - _MOST_SECONDS):
            break
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return {"p50_ms": float(p50), "p99_ms": float(p99), "requests": len(milliseconds)}


def _as_example(picture: StoredAnswer) -> bytes:
    example = tf.train.Example()
    feature = example.features.feature
    feature[features.IMAGE_ENCODED].bytes_list.value.append(picture.encoded)
    return bytes(example.SerializeToString())
