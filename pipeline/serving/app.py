"""The routes of the server: TensorFlow Serving's REST API, and those for people and clusters."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Final

from aiohttp import web

from inception_finetune.components.dataset.picture_formats import as_png_or_jpeg
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.pushed_model import PushedModel
from inception_finetune.pipeline.prediction.pictures import Picture
from inception_finetune.pipeline.prediction.predict import Prediction
from inception_finetune.pipeline.serving.answering import Answering
from inception_finetune.pipeline.serving.canary import Canary, Comparisons
from inception_finetune.pipeline.serving.errors import RequestError
from inception_finetune.pipeline.serving.limits import Limits
from inception_finetune.pipeline.serving.metrics import Metrics
from inception_finetune.pipeline.serving.page import make_page
from inception_finetune.pipeline.serving.tensors import Answered, answer_request, parse_request
from inception_finetune.pipeline.serving.versions import State, Version, Versions

_MODEL: Final = "/v1/models/{name:[^/:]+}"
_VERSION: Final = f"{_MODEL}/versions/{{version:[0-9]{{1,18}}}}"
_ANSWERED_BY: Final = "X-Model-Version"  # header of answers to requests for predictions
_TOP: Final = 5  # classes that /classify names
_DRAIN_POLL: Final = 0.02  # seconds
_SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_LOG: Final = logging.getLogger(__name__)


class Server:
    """Answers requests about one model."""

    def __init__(
        self,
        name: str,
        versions: Versions,
        metrics: Metrics,
        limits: Limits,
        canary: Canary | None = None,
    ) -> None:
        """Prepares the routes.

        Args:
          name: of the model, as the routes have it.
          versions: of the model.
          metrics: counts the requests.
          limits: what a request, and all of them together, may cost.
          canary: the share of the requests that another version gets, which `versions` load.
        """
        self._canary = canary
        self._name = name
        self._versions = versions
        self._metrics = metrics
        self._limits = limits
        self._page = make_page(name, canary)
        self._workers = ThreadPoolExecutor(limits.workers, "predict")
        self.comparisons = Comparisons(metrics, limits.workers)
        self._answering = Answering(versions, metrics, self._workers, self.comparisons, canary)
        self._admitted = 0
        self._unanswered = 0  # requests whose head is there
        self._ending = False  # no longer ready: what balances the load sends nothing new

    def application(self) -> web.Application:
        """Returns what aiohttp serves."""
        application = web.Application(
            middlewares=[self._answered], client_max_size=self._limits.body_bytes
        )
        application.add_routes(
            [
                web.get("/", self.show_page, name="page"),
                web.get("/healthz", self.health, name="healthz"),
                web.get("/healthz/live", self.live, name="live"),
                web.get("/metrics", self.show_metrics, name="metrics"),
                web.get("/canary", self.show_canary, name="canary"),
                web.post("/classify", self.classify, name="classify"),
                web.get(_MODEL, self.status, name="status"),
                web.get(_VERSION, self.status, name="version_status"),
                web.get(f"{_MODEL}/metadata", self.metadata, name="metadata"),
                web.get(f"{_VERSION}/metadata", self.metadata, name="version_metadata"),
                web.post(f"{_MODEL}:predict", self.predict, name="predict"),
                web.post(f"{_VERSION}:predict", self.predict, name="version_predict"),
                web.route("*", "/v1/{rest:.*}", self.malformed, name="malformed"),
            ]
        )
        return application

    async def drain(self) -> None:
        """Answers what has begun, and closes each connection with its answer.

        aiohttp's own end would not read the rest of a body that is on its way.
        """
        self._ending = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.shutdown_seconds):
                while self._unanswered or self.comparisons.under_way:
                    await asyncio.sleep(_DRAIN_POLL)

    def close(self) -> None:
        """Waits for what is still computed."""
        self._workers.shutdown(wait=True, cancel_futures=True)

    @web.middleware
    async def _answered(
        self, request: web.Request, handler: Callable[..., Any]
    ) -> web.StreamResponse:
        """Turns failures into TensorFlow Serving's JSON, and counts the request."""
        started = time.monotonic()
        self._unanswered += 1
        try:
            response = await self._answer(request, handler)
            response.headers.update(_SAFE)
            if self._ending or response.status in (408, 413):
                response.force_close()  # of these two, the rest of the body is not read
            await self._send(request, response)
        finally:
            self._unanswered -= 1
        route = request.match_info.route.name or "other"
        self._metrics.requests.labels(route, response.status).inc()
        self._metrics.seconds.labels(route).observe(time.monotonic() - started)
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse) -> None:
        """Sends the answer, or ends the connection of a client that does not take it."""
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport:
                request.transport.abort()
        except ConnectionError:  # the client has gone
            return

    async def _answer(
        self, request: web.Request, handler: Callable[..., Any]
    ) -> web.StreamResponse:
        response: web.StreamResponse
        try:
            response = await handler(request)
        except RequestError as error:
            response = _refusal(error.status, str(error))
        except web.HTTPRequestEntityTooLarge:
            response = _refusal(413, self._too_large())
        except web.HTTPException as error:
            response = _refusal(error.status, f"{error.reason}: {request.method} {request.path}")
            response.headers.update(
                {key: value for key, value in error.headers.items() if key == "Allow"}
            )
        except UserError as error:
            response = _refusal(500, str(error))
        except Exception:
            _LOG.exception("%s %s", request.method, request.path)
            response = _refusal(500, "Internal error: see the server's log")
        return response

    async def show_page(self, request: web.Request) -> web.Response:
        """``GET /``."""
        headers = {"Content-Security-Policy": self._page.policy}
        return web.Response(text=self._page.html, content_type="text/html", headers=headers)

    async def live(self, request: web.Request) -> web.Response:
        """``GET /healthz/live``: the event loop answers."""
        return web.json_response({"live": True})

    async def health(self, request: web.Request) -> web.Response:
        """``GET /healthz``: 200 if requests for predictions are answered, else 503."""
        current = self._versions.current
        is_ready = current is not None and not self._ending
        state = {"live": True, "ready": is_ready, "version": current.number if current else None}
        return web.json_response(state, status=200 if is_ready else 503)

    async def show_metrics(self, request: web.Request) -> web.Response:
        """``GET /metrics``."""
        headers = {"Content-Type": self._metrics.content_type}
        return web.Response(body=self._metrics.text(), headers=headers)

    async def show_canary(self, request: web.Request) -> web.Response:
        """``GET /canary``: what the two versions make of the same requests."""
        if self._canary is None:
            raise RequestError(404, "No canary: `serve --canary VERSION` gives one a share")
        compared = [one.facts() for one in self.comparisons.agreements]
        loaded = self._versions.canary is not None
        return web.json_response(
            {**self._canary.model_dump(), "loaded": loaded, "comparisons": compared}
        )

    async def malformed(self, request: web.Request) -> web.Response:
        """What lies below ``/v1/`` and is no route."""
        raise RequestError(400, f"Malformed request: {request.method} {request.path}")

    async def status(self, request: web.Request) -> web.Response:
        """``GET /v1/models/NAME[/versions/N]``."""
        name, number = self._asked(request)
        known = self._versions.known if name == self._name else {}
        shown = [
            version
            for version in sorted(known.values(), key=lambda one: -one.number)
            if number in (None, version.number)
        ]
        if not shown:
            which = "any versions" if number is None else f"version {number}"
            raise RequestError(404, f"Could not find {which} of model {name}")
        return web.json_response({"model_version_status": [_state(one) for one in shown]})

    async def metadata(self, request: web.Request) -> web.Response:
        """``GET /v1/models/NAME[/versions/N]/metadata``."""
        version = self._version(request)
        definitions = await asyncio.to_thread(version.signature_definitions)
        return web.json_response(
            {
                "model_spec": {
                    "name": self._name,
                    "signature_name": "",
                    "version": str(version.number),
                },
                "metadata": {"signature_def": {"signature_def": definitions}},
            }
        )

    async def predict(self, request: web.Request) -> web.Response:
        """``POST /v1/models/NAME[/versions/N]:predict``."""
        with self._admission(request):
            body = await self._body(request)

            def work(model: PushedModel) -> tuple[Answered, list[str] | None]:
                asked = parse_request(body)
                answer = answer_request(asked, model.loaded.signatures, self._limits.examples)
                return answer, _named(answer.classes, model.label_names)

            version, (answer, _) = await self._answering.answer(
                self._version(request), body, work, lambda one: one[1], is_named=_names(request)
            )
        self._metrics.pictures.inc(answer.examples)
        self._metrics.unread.inc(answer.unread)
        return web.Response(
            body=answer.body,
            content_type="application/json",
            headers={_ANSWERED_BY: str(version.number)},
        )

    async def classify(self, request: web.Request) -> web.Response:
        """``POST /classify?top=K``: the body is a picture's file."""
        top = request.query.get("top", str(_TOP))
        if not (top.isascii() and top.isdecimal() and int(top[:6]) > 0):
            raise RequestError(400, "top must be a number from 1 on")
        with self._admission(request):
            body = await self._body(request)

            def work(model: PushedModel) -> Prediction:
                stored = as_png_or_jpeg(body)
                if isinstance(stored, str):
                    raise RequestError(400, stored)
                answers = model.answer([stored.encoded])
                return Prediction.of(Picture("", body, None), model.label_names, answers, 0)

            version, found = await self._answering.answer(
                self._version(request), body, work, lambda one: [one.label_name], is_named=False
            )
        self._metrics.pictures.inc()
        if found.error:
            self._metrics.unread.inc()
            raise RequestError(400, found.error)
        classes = [
            {"label": label, "probability": float(str(share))}
            for label, share in found.ranked(int(top[:6]))
        ]
        answer = {"model": self._name, "version": version.number, "classes": classes}
        if found.prediction_set is not None:
            answer["prediction_set"] = found.prediction_set
        if found.unknown is not None:
            answer["unknown"] = found.unknown
        return web.json_response(answer, headers={_ANSWERED_BY: str(version.number)})

    def _asked(self, request: web.Request) -> tuple[str, int | None]:
        number = request.match_info.get("version")
        return request.match_info["name"], None if number is None else int(number)

    def _version(self, request: web.Request) -> Version:
        """The version that answers: the current one; the request may name it, or the canary."""
        current, canary = self._versions.current, self._versions.canary
        if "name" in request.match_info:
            name, number = self._asked(request)
            if name == self._name and canary and number == canary.number:
                return canary
            if name != self._name or (current and number not in (None, current.number)):
                which = f"Latest({name})" if number is None else f"Specific({name}, {number})"
                raise RequestError(404, f"Servable not found for request: {which}")
        if current is None:
            raise RequestError(503, f"No version of {self._name} is loaded yet")
        return current

    @contextmanager
    def _admission(self, request: web.Request) -> Iterator[None]:
        """Lets a bounded number of requests be read and computed at a time."""
        self._version(request)  # what is refused need not be read
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise RequestError(415, "Compressed bodies are not read: send it as it is")
        if (request.content_length or 0) > self._limits.body_bytes:
            raise RequestError(413, self._too_large())
        if self._admitted >= self._limits.requests:
            raise RequestError(503, f"{self._admitted} requests are being answered: try again")
        self._admitted += 1
        self._metrics.in_flight.inc()
        try:
            yield
        finally:
            self._admitted -= 1
            self._metrics.in_flight.dec()

    async def _body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return await request.read()
        except (web.RequestPayloadError, ConnectionError) as error:
            raise RequestError(400, "The body broke off") from error
        except TimeoutError as error:
            seconds = self._limits.body_seconds
            raise RequestError(408, f"The body did not arrive within {seconds:g} s") from error

    def _too_large(self) -> str:
        return f"The body is larger than {self._limits.body_bytes:,} bytes"


def _refusal(status: int, message: str) -> web.Response:
    headers = {"Retry-After": "1"} if status == 503 else None
    text = json.dumps({"error": message})
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")


def _names(request: web.Request) -> bool:
    """Whether a request names a version in its route."""
    return "version" in request.match_info


def _named(classes: list[int] | None, names: Sequence[str]) -> list[str] | None:
    """The names of classes; "" of pictures that could not be read."""
    return None if classes is None else [names[one] if one >= 0 else "" for one in classes]


def _state(version: Version) -> dict[str, Any]:
    failed = version.state is State.END and version.error
    return {
        "version": str(version.number),
        "state": version.state,
        "status": {"error_code": "UNKNOWN" if failed else "OK", "error_message": version.error},
    }
