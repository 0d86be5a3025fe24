"""A server in use: bounds, slow clients, versions that are pushed, and its end."""

import asyncio
import base64
import concurrent.futures
import gc
import gzip
import json
import shutil
import signal
import socket
import threading
import time
import weakref

import pytest
import requests
from tensorflow_serving.apis import prediction_log_pb2

from helpers.made_pictures import encoded
from helpers.served import Served, serving, until
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.warm_up import FILE, write_warm_up
from inception_finetune.pipeline.serving.limits import Limits
from inception_finetune.pipeline.serving.metrics import Metrics
from inception_finetune.pipeline.serving.server import serve
from inception_finetune.pipeline.serving.versions import Version, Versions

NAME = "digits"


def push(model, folder, number: int) -> None:
    """As Pusher does: a copy beside it, then one rename."""
    shutil.copytree(model, folder / ".pushing")
    (folder / ".pushing").rename(folder / str(number))


def break_newest(folder, number: int) -> None:
    (folder / ".broken").mkdir()
    (folder / ".broken/saved_model.pb").write_bytes(b"no model")
    (folder / ".broken").rename(folder / str(number))


def connect(served: Served, buffer: int | None = None) -> socket.socket:
    host, port = served.url.removeprefix("http://").split(":")
    connection = socket.socket()
    if buffer:  # bytes that are received before they are read
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(30)
    connection.connect((host, int(port)))
    return connection


def received(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


HEAD = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"


def test_a_version_answers_its_warm_up_requests_before_it_serves(brightness_model, tmp_path):
    """TensorFlow Serving does so too: what fails here would fail there."""
    import tensorflow as tf

    model = tmp_path / "1"
    shutil.copytree(brightness_model, model)
    write_warm_up(model / "assets.extra", size=8, explains=False)
    Version(1, model).load()
    requests_file = model / "assets.extra" / FILE
    whole = requests_file.read_bytes()
    requests_file.write_bytes(whole[:-4])
    with pytest.raises(tf.errors.DataLossError):
        Version(1, model).load()
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "lost"
    with tf.io.TFRecordWriter(str(requests_file)) as writer:
        writer.write(log.SerializeToString())
    with pytest.raises(UserError, match="has no signature 'lost'"):
        Version(1, model).load()


def test_bounds(brightness_model, examples, tmp_path):
    push(brightness_model, tmp_path, 1)
    options = ("--max-body=0.025", "--max-pictures=40", "--max-requests=1", "--timeout=2")
    with serving(tmp_path, *options) as served:
        address = f"{served.url}/classify"
        # A body that is announced too large, or sent in parts that are.
        for data in (bytes(30_000), iter([bytes(30_000)])):
            answer = requests.post(address, data, timeout=30)
            assert answer.status_code == 413
            assert answer.json()["error"] == "The body is larger than 26,214 bytes"
        for data in (gzip.compress(bytes(200_000)), b"no gzip" * 20):
            answer = requests.post(address, data, headers={"Content-Encoding": "gzip"}, timeout=30)
            assert answer.status_code == 415 and "not read" in answer.json()["error"]

        body = {"signature_name": "predict_images", "inputs": ["x"] * 41}
        answer = requests.post(f"{served.url}/v1/models/{NAME}:predict", json=body, timeout=30)
        assert answer.status_code == 400 and "more than 40" in answer.json()["error"]

        # One client is slow: others are told, and it is told when its time is over.
        with connect(served) as slow:
            slow.sendall(HEAD)
            until(lambda: value(served, "requests_in_flight") == 1 or None)
            busy = requests.post(address, encoded(0), timeout=30)
            assert busy.status_code == 503 and busy.headers["Retry-After"] == "1"
            assert "1 requests are being answered" in busy.json()["error"]
            assert requests.get(f"{served.url}/healthz", timeout=30).status_code == 200
            answered = received(slow)  # to the end: the connection is closed
            assert answered.startswith(b"HTTP/1.1 408")
            assert b"did not arrive within 2 s" in answered
        assert requests.post(address, encoded(0), timeout=30).status_code == 200

        # An answer of 8 MB that is not taken.
        rows = [{"b64": base64.b64encode(examples.serialized[3]).decode()}] * 40
        body = json.dumps({"signature_name": "transform_features", "instances": rows}).encode()
        head = f"POST /v1/models/{NAME}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
        with connect(served, buffer=4096) as slow:
            slow.sendall(head.encode() + b"\r\n\r\n" + body)
            assert slow.recv(15) == b"HTTP/1.1 200 OK"
            time.sleep(4)
            begun = received(slow)  # what the system held, and then the end
            assert b"Content-Length: 85" in begun and 500 < len(begun) < 5_000_000

        # A head that never ends, and a client that goes away in its body.
        with connect(served) as slow:
            started = time.monotonic()
            slow.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\n")
            assert b"200" not in received(slow)
            assert 1 < time.monotonic() - started < 10
        with connect(served) as gone:
            gone.sendall(HEAD)
        until(lambda: value(served, "requests_in_flight") == 0 or None)
        assert not [line for line in served.lines if not line.startswith("serve: ")]


def value(served: Served, name: str) -> float:
    text = requests.get(f"{served.url}/metrics", timeout=30).text
    [line] = [one for one in text.splitlines() if one.startswith(f"inception_finetune_{name} ")]
    return float(line.split()[-1])


def test_versions_are_swapped_under_clients_without_a_failed_request(brightness_model, tmp_path):
    push(brightness_model, tmp_path, 1)
    break_newest(tmp_path, 2)
    (tmp_path / "03").mkdir()  # no version's name
    with serving(tmp_path, "--max-requests=64") as served:
        served.wait_for("version 2 is not served")
        stop, seen = threading.Event(), []

        def ask(number: int) -> None:
            with requests.Session() as session:
                while not stop.is_set():
                    answer = session.post(f"{served.url}/classify", encoded(number), timeout=30)
                    seen.append((answer.status_code, answer.json().get("version")))

        with concurrent.futures.ThreadPoolExecutor(3) as clients:
            asking = [clients.submit(ask, number) for number in range(3)]
            try:
                until(lambda: len(seen) > 10 or None)
                push(brightness_model, tmp_path, 3)
                served.wait_for("version 1 is unloaded")
                at = len(seen)
                until(lambda: len(seen) > at + 10 or None)
                # A version that does not load is said once, and changes nothing.
                break_newest(tmp_path, 5)
                served.wait_for("version 5 is not served: .* Version 3 still serves")
                at = len(seen)
                until(lambda: len(seen) > at + 10 or None)
            finally:
                stop.set()
        for one in asking:
            one.result()
        assert {status for status, _ in seen} == {200}
        versions = [version for _, version in seen]
        assert set(versions) == {1, 3} and versions[0] == 1 and versions[-1] == 3
        time.sleep(2.5)  # two more looks
        assert sum("version 5 is not served" in line for line in served.lines) == 1
        states = requests.get(f"{served.url}/v1/models/{NAME}", timeout=30).json()
        assert [(one["version"], one["state"]) for one in states["model_version_status"]] == [
            ("5", "END"),
            ("3", "AVAILABLE"),
            ("2", "END"),
            ("1", "END"),
        ]
        assert (
            "Class names are missing"
            in states["model_version_status"][0]["status"]["error_message"]
        )
        # What is mended is tried again; what is taken back is no longer served.
        shutil.rmtree(tmp_path / "5")
        push(brightness_model, tmp_path, 5)
        served.wait_for("version 5 serves")
        shutil.rmtree(tmp_path / "5")
        served.wait_for("version 5 is unloaded")
        assert value(served, "model_version") == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_requests_in_flight_are_answered(brightness_model, tmp_path, number):
    push(brightness_model, tmp_path, 1)
    with serving(tmp_path) as served:
        picture = encoded(0)
        head = f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(picture)}\r\n\r\n"
        with connect(served) as slow, connect(served) as idle:
            slow.sendall(head.encode() + picture[:10])
            idle.sendall(b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(1 << 16).startswith(b"HTTP/1.1 200")
            until(lambda: value(served, "requests_in_flight") == 1 or None)
            served.process.send_signal(number)
            served.wait_for("ending")
            with pytest.raises(OSError):  # nothing new is taken
                until(lambda: connect(served).close(), 5)
            slow.sendall(picture[10:])
            answered = received(slow)
            assert answered.startswith(b"HTTP/1.1 200") and b'"classes"' in answered
        assert served.process.wait(30) == 0
        assert not [line for line in served.lines if not line.startswith("serve: ")]


def test_what_cannot_start_is_one_line(brightness_model, tmp_path, capfd):
    with pytest.raises(UserError, match=f"No pushed version in {tmp_path / 'none'}. Run the"):
        serve(NAME, tmp_path / "none", host="127.0.0.1", port=0, limits=Limits())
    (tmp_path / "1").mkdir()
    (tmp_path / "1/saved_model.pb").write_bytes(b"")
    with pytest.raises(UserError, match="Class names are missing"):
        serve(NAME, tmp_path, host="127.0.0.1", port=0, limits=Limits())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Cannot listen on 127.0.0.1:{port}: .*in use"):
            serve(NAME, tmp_path, host="127.0.0.1", port=port, limits=Limits())
    with pytest.raises(UserError, match="Cannot listen on host.invalid:0"):
        serve(NAME, tmp_path, host="host.invalid", port=0, limits=Limits())
    capfd.readouterr()
    with pytest.raises(UserError):
        serve(NAME, tmp_path, host="0.0.0.0", port=0, limits=Limits())  # noqa: S104
    assert "there are no passwords and no encryption" in capfd.readouterr().err


def test_an_old_version_is_let_go_with_its_last_request(brightness_model, tmp_path):
    said: list[str] = []

    async def swap() -> None:
        versions = Versions(tmp_path, Metrics(), said.append)
        await versions.look()
        old = versions.current
        assert old
        with versions.use(old) as model:
            push(brightness_model, tmp_path, 2)
            await versions.look()
            assert versions.current and versions.current.number == 2
            assert old.state == "UNLOADING" and len(model.answer([encoded(0)]).errors) == 1
            kept = weakref.ref(model)
            del model
            gc.collect()
            assert kept()
        assert old.state == "END"
        gc.collect()
        assert kept() is None

    push(brightness_model, tmp_path, 1)
    asyncio.run(swap())
    assert said == ["version 1 serves", "version 2 serves", "version 1 is unloaded"]
