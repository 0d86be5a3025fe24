"""A stand-in for Kubeflow Pipelines' API on loopback, which takes and gives only what fits it.

Each request and each answer goes through kfp_server_api's models: a key that they do not have, or
a value of another type, is a failed assertion of the test that uses the stub.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import kfp_server_api as api
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from helpers.loopback import answering

PATH = "/apis/v2beta1"
STARTED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NO_TIME = "0001-01-01T00:00:00Z"  # as Go writes a time that is not there yet
_LISTS = {"page_token", "page_size", "sort_by", "filter", "namespace"}
_CLIENT = api.ApiClient()


@dataclass
class Failure:
    """What is answered instead; `times` None is always."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    times: int | None = None


@dataclass
class Stub:
    multi_user: bool = False
    experiments: list[dict] = field(default_factory=list)
    pipelines: list[dict] = field(default_factory=list)
    versions: list[dict] = field(default_factory=list)
    runs: list[dict] = field(default_factory=list)
    recurring_runs: list[dict] = field(default_factory=list)
    # Of Argo: the nodes below a node, by its name, and what pods have written, by theirs.
    children: dict[str, list[str]] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    # State of the run, and of each node by its name, at each look at a run; the last one stays.
    timeline: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    looks: int = 0
    failures: dict[str, Failure] = field(
        default_factory=dict
    )  # by the regular expression of a path
    requests: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    address: str = ""

    def answer(
        self, method: str, path: str, query: dict[str, str], body: bytes, kind: str
    ) -> dict | str:
        for pattern, allowed, handler in _ROUTES:
            verb, _, expression = pattern.partition(" ")
            match = re.fullmatch(expression.replace("~", PATH), path)
            if verb == method and match:
                assert set(query) <= allowed, f"{path} does not take {set(query) - allowed}"
                return handler(self, query, body, kind, *match.groups())
        raise AssertionError(f"the API has no {method} {path}")


def checked(model: str, values: dict) -> dict:
    """`values` as the model `model` reads and writes them: the same, or an assertion fails."""

    class Response:
        data = json.dumps(values)

    read = _CLIENT.deserialize(Response, model)
    written = _CLIENT.sanitize_for_serialization(read)
    assert _same_times(written) == _same_times(values), f"{model}: {values} became {written}"
    return values


def _same_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _same_times(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_same_times(item) for item in value]
    return value.replace("+00:00", "Z") if isinstance(value, str) else value


def _healthz(stub: Stub, *_: Any) -> dict:
    return checked("V2beta1GetHealthzResponse", {"multi_user": stub.multi_user})


def _named(things: list[dict], query: dict[str, str]) -> list[dict]:
    filtered = json.loads(query["filter"]) if query.get("filter") else {}
    checked("V2beta1Filter", _as_operation_names(filtered))
    for predicate in filtered.get("predicates", ()):
        assert predicate["operation"] == 1
        things = [t for t in things if t[predicate["key"]] == predicate["stringValue"]]
    return things


def _as_operation_names(filtered: dict) -> dict:
    """filter.proto's number 1 is EQUALS, and stringValue is string_value: protobuf takes both."""
    predicates = [
        {"operation": "EQUALS", "key": p["key"], "string_value": p["stringValue"]}
        for p in filtered.get("predicates", ())
    ]
    return {"predicates": predicates} if predicates else {}


def _list(model: str, key: str, source: Callable[[Stub], list[dict]]) -> Callable:
    def answer(stub: Stub, query: dict[str, str], body: bytes, kind: str, *ids: str) -> dict:
        found = _named(source(stub), query)
        namespace, experiment = query.get("namespace"), query.get("experiment_id")
        if stub.multi_user and not ids:
            assert namespace or experiment, "a cluster of many users needs a namespace"
        if experiment:
            found = [thing for thing in found if thing["experiment_id"] == experiment]
        found = found[: int(query.get("page_size") or 20)]
        return checked(model, {key: found, "total_size": len(found)} if found else {})

    return answer


def _create(model: str, key: str, target: Callable[[Stub], list[dict]]) -> Callable:
    def answer(stub: Stub, query: dict[str, str], body: bytes, kind: str) -> dict:
        assert kind == "application/json"
        made = checked(model, json.loads(body))
        things = target(stub)
        made = {**made, key: f"{key.removesuffix('_id')}-{len(things)}"}
        made |= {"created_at": STARTED.isoformat()}
        things.append(made)
        return checked(model, made)

    return answer


def _create_run(stub: Stub, query: dict[str, str], body: bytes, kind: str) -> dict:
    made = _create("V2beta1Run", "run_id", lambda stub: stub.runs)(stub, query, body, kind)
    reference = made["pipeline_version_reference"]
    assert reference["pipeline_id"] in [p["pipeline_id"] for p in stub.pipelines]
    version = [
        v
        for v in stub.versions
        if v["pipeline_version_id"] == reference["pipeline_version_id"]
        and v["pipeline_id"] == reference["pipeline_id"]
    ]
    assert len(version) == 1
    assert made["experiment_id"] in [e["experiment_id"] for e in stub.experiments]
    spec = version[0]["pipeline_spec"]
    known = spec.get("pipeline_spec", spec)["root"]["inputDefinitions"]["parameters"]
    assert set(made["runtime_config"].get("parameters", {})) <= set(known)
    return made


def _create_recurring_run(stub: Stub, query: dict[str, str], body: bytes, kind: str) -> dict:
    values = json.loads(body)
    # A number or its text are the same to protobuf, whose 64 bits are a text in JSON.
    assert 1 <= values["max_concurrency"] <= 10
    values["max_concurrency"] = str(values["max_concurrency"])
    # With five, the API takes the first one for seconds, and says nothing.
    assert len(values["trigger"]["cron_schedule"]["cron"].split(" ")) == 6
    create = _create("V2beta1RecurringRun", "recurring_run_id", lambda stub: stub.recurring_runs)
    made = create(stub, query, json.dumps(values).encode(), kind)
    assert made["experiment_id"] in [e["experiment_id"] for e in stub.experiments]
    reference = made["pipeline_version_reference"]
    assert reference["pipeline_version_id"] in [v["pipeline_version_id"] for v in stub.versions]
    made["status"] = {"ENABLE": "ENABLED", "DISABLE": "DISABLED"}[made["mode"]]
    return checked("V2beta1RecurringRun", made)


def _change_recurring_run(
    stub: Stub, query: Any, body: Any, kind: Any, identity: str, change: str | None = None
) -> dict:
    (found,) = [one for one in stub.recurring_runs if one["recurring_run_id"] == identity]
    if change:
        found |= {"mode": change.upper(), "status": f"{change.upper()}D"}
    else:
        stub.recurring_runs.remove(found)
    return {}


def _list_recurring_runs(stub: Stub, query: dict[str, str], *_: Any) -> dict:
    """In pages of two, whatever is asked for: an API may give fewer."""
    assert not stub.multi_user or query["namespace"], "a cluster of many users needs a namespace"
    begin = int(query.get("page_token") or 0)
    shown = stub.recurring_runs[begin : begin + 2]
    answer: dict[str, Any] = {"recurringRuns": shown} if shown else {}
    if begin + 2 < len(stub.recurring_runs):
        answer["next_page_token"] = str(begin + 2)
    return checked("V2beta1ListRecurringRunsResponse", answer)


def _web_log(stub: Stub, query: dict[str, str], *_: Any) -> str:
    assert query["runid"] in [run["run_id"] for run in stub.runs]
    assert query["createdat"] == f"{STARTED:%Y-%m-%d}"
    assert not stub.multi_user or query["podnamespace"], "the web server asks for a namespace"
    return stub.logs[query["podname"]]


def _api_log(stub: Stub, query: Any, body: Any, kind: Any, run_id: str, pod: str) -> str:
    assert run_id in [run["run_id"] for run in stub.runs]
    return stub.logs[pod]


def _upload_version(stub: Stub, query: dict[str, str], body: bytes, kind: str) -> dict:
    assert query["pipelineid"] in [p["pipeline_id"] for p in stub.pipelines]
    message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body, policy=HTTP)
    (part,) = message.iter_parts()
    assert part.get_param("name", header="content-disposition") == "uploadfile"
    assert part.get_filename().endswith(".yaml")
    spec, *platform = yaml.safe_load_all(part.get_payload(decode=True))
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    if platform:
        json_format.ParseDict(platform[0], pipeline_spec_pb2.PlatformSpec())
        spec = {"pipeline_spec": spec, "platform_spec": platform[0]}
    version = {
        "pipeline_id": query["pipelineid"],
        "pipeline_version_id": f"version-{len(stub.versions)}",
        "display_name": query["name"],
        "created_at": STARTED.isoformat(),
        "pipeline_spec": spec,
    }
    stub.versions.append(version)
    return checked("V2beta1PipelineVersion", version)


def _get_version(stub: Stub, query: Any, body: Any, kind: Any, pipeline: str, version: str) -> dict:
    (found,) = [v for v in stub.versions if v["pipeline_version_id"] == version]
    assert found["pipeline_id"] == pipeline
    return checked("V2beta1PipelineVersion", found)


def _get_run(stub: Stub, query: Any, body: Any, kind: Any, run_id: str) -> dict:
    (run,) = [run for run in stub.runs if run["run_id"] == run_id]
    state, nodes = stub.timeline[min(stub.looks, len(stub.timeline) - 1)]
    stub.looks += 1
    details = [
        _node(run_id, place, name, node, stub.children.get(name, [f"pipeline-{place + 1}"]))
        for place, (name, node) in enumerate(nodes.items())
    ]
    run = {**run, "state": state, "run_details": {"task_details": details}}
    return checked("V2beta1Run", run)


def _node(run_id: str, place: int, name: str, state: str, children: list[str]) -> dict:
    """As the API server makes it of an Argo node: neither pod, execution, nor outputs."""
    begun = STARTED + timedelta(minutes=place)
    ended = state not in ("RUNNING", "PENDING")
    return {
        "run_id": run_id,
        "task_id": f"task-{place}",
        "display_name": name,
        "create_time": STARTED.isoformat(),
        "start_time": begun.isoformat(),
        "end_time": (begun + timedelta(seconds=45)).isoformat() if ended else NO_TIME,
        "state": state,
        "state_history": [{"update_time": begun.isoformat(), "state": state}],
        "child_tasks": [{"pod_name": child} for child in children],
    }


_ROUTES = [
    ("GET ~/healthz", set(), _healthz),
    (
        "GET ~/experiments",
        _LISTS,
        _list("V2beta1ListExperimentsResponse", "experiments", lambda stub: stub.experiments),
    ),
    (
        "POST ~/experiments",
        set(),
        _create("V2beta1Experiment", "experiment_id", lambda stub: stub.experiments),
    ),
    (
        "GET ~/pipelines",
        _LISTS,
        _list("V2beta1ListPipelinesResponse", "pipelines", lambda stub: stub.pipelines),
    ),
    (
        "POST ~/pipelines",
        set(),
        _create("V2beta1Pipeline", "pipeline_id", lambda stub: stub.pipelines),
    ),
    (
        "GET ~/pipelines/([^/]+)/versions",
        _LISTS,
        _list(
            "V2beta1ListPipelineVersionsResponse", "pipeline_versions", lambda stub: stub.versions
        ),
    ),
    ("GET ~/pipelines/([^/]+)/versions/([^/]+)", set(), _get_version),
    ("POST ~/pipelines/upload_version", {"name", "pipelineid"}, _upload_version),
    (
        "GET ~/runs",
        _LISTS | {"experiment_id"},
        _list("V2beta1ListRunsResponse", "runs", lambda stub: stub.runs),
    ),
    ("POST ~/runs", {"experiment_id"}, _create_run),
    ("GET ~/runs/([^/]+)", {"experiment_id"}, _get_run),
    ("GET ~/recurringruns", _LISTS | {"experiment_id"}, _list_recurring_runs),
    ("POST ~/recurringruns", set(), _create_recurring_run),
    ("POST ~/recurringruns/([^/:]+):(enable|disable)", set(), _change_recurring_run),
    ("DELETE ~/recurringruns/([^/:]+)", set(), _change_recurring_run),
    ("GET /k8s/pod/logs", {"podname", "runid", "podnamespace", "createdat"}, _web_log),
    ("GET /apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", set(), _api_log),
]


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    """Answers at ``stub.address`` until the block ends; then what did not fit fails."""
    leave = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:  # noqa: N802
            self._answer()

        def do_POST(self) -> None:  # noqa: N802
            self._answer()

        def do_DELETE(self) -> None:  # noqa: N802
            self._answer()

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            stub.requests.append((self.command, parts.path.removeprefix(PATH)))
            stub.tokens.add(self.headers.get("Authorization"))
            for pattern, failure in stub.failures.items():
                if re.search(pattern, f"{self.command} {parts.path}") and failure.times != 0:
                    failure.times = None if failure.times is None else failure.times - 1
                    return self._fail(failure)
            kind = self.headers.get("Content-Type", "")
            query = dict(parse_qsl(parts.query))
            try:
                answer = stub.answer(self.command, parts.path, query, body, kind)
            except Exception as error:
                stub.problems.append(f"{self.command} {self.path}: {type(error).__name__}: {error}")
                return self._send(500, b'{"message": "the stub found a fault"}')
            if isinstance(answer, str):
                return self._send(200, answer.encode("utf-8", "surrogateescape"), "text/plain")
            return self._send(200, json.dumps(answer).encode())

        def _fail(self, failure: Failure) -> None:
            if failure.hang:
                leave.wait(30)
                return
            authorization = (self.headers.get("Authorization") or "").encode()
            body = failure.body.replace(b"{authorization}", authorization)
            self._send(failure.status, body, failure.kind, failure.headers)

        def _send(
            self, status: int, body: bytes, kind: str = "application/json", headers: Any = ()
        ) -> None:
            self.send_response(status)
            length = {"Content-Length": str(len(body))}
            for name, value in ({"Content-Type": kind} | length | dict(headers)).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with answering(Handler, before_stopping=leave.set) as http:
        stub.address = http.address
        yield stub
    assert not stub.problems
