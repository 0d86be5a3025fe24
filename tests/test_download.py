"""Downloads from a real server that breaks off, changes its file, refuses ranges and stalls."""

import hashlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components import download as download_module
from components.download import download
from components.errors import UserError

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the server offers; tests change it between or during requests."""

    content: bytes = CONTENT
    etag: str | None = '"one"'
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)  # of the next answers, before it serves
    drops: list[int] = field(default_factory=list)  # the next answers break off after so many bytes
    stall: bool = False
    requests: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:  # noqa: N802
            server.requests.append(dict(self.headers))
            if server.statuses:
                self.send_error(server.statuses.pop(0))
                return
            body, first = server.content, 0
            wanted = self.headers.get("Range")
            same = self.headers.get("If-Range") in (None, server.etag)
            if wanted and server.ranges and same:
                first = int(wanted.removeprefix("bytes=").rstrip("-"))
                if first >= len(body):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            if server.etag:
                self.send_header("ETag", server.etag)
            self.send_header("Content-Length", str(len(body) - first))
            self.end_headers()
            end = first + server.drops.pop(0) if server.drops else len(body)
            self.wfile.write(body[first:end])
            if server.stall:
                self.wfile.flush()
                server.stopping.wait(5)

    return Handler


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr(download_module, "FIRST_WAIT", 0.01)
    state = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/archive.tar.gz"
    yield state
    state.stopping.set()
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "fetched" / "archive.tar.gz"


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_download_verifies_and_leaves_nothing_else(server, target):
    assert download(server.url, target, sha256=SHA256.upper()) == target
    assert target.read_bytes() == CONTENT
    assert names(target) == ["archive.tar.gz"]


def test_a_verified_target_needs_no_server(server, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    download(server.url, target, sha256=SHA256, md5=hashlib.md5(CONTENT).hexdigest())
    download(server.url, target)
    assert server.requests == []


def test_a_target_with_another_checksum_is_replaced(server, target):
    target.parent.mkdir()
    target.write_bytes(b"of last year")
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_goes_on_where_the_connection_broke(server, target):
    server.drops = [300_000, 200_000]
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert [r.get("Range") for r in server.requests] == [None, "bytes=300000-", "bytes=500000-"]
    assert server.requests[1]["If-Range"] == '"one"'


def test_a_later_call_goes_on_too(server, target):
    server.drops = [300_000]
    with pytest.raises(UserError, match=r"in 1 attempts.*goes on from there"):
        download(server.url, target, attempts=1)
    assert names(target) == ["archive.tar.gz.part", "archive.tar.gz.part.json"]
    download(server.url, target)
    assert target.read_bytes() == CONTENT
    assert server.requests[-1]["Range"] == "bytes=300000-"
    assert names(target) == ["archive.tar.gz"]


def test_a_part_of_another_address_is_not_continued(server, target):
    server.drops = [300_000]
    with pytest.raises(UserError):
        download(server.url, target, attempts=1)
    download(server.url + "?newer", target)
    assert "Range" not in server.requests[-1]


@pytest.mark.parametrize("change", ["ranges refused", "file changed", "no validator"])
def test_never_glues_different_files_together(server, target, change):
    if change == "no validator":
        server.etag = None
    server.drops = [300_000]
    with pytest.raises(UserError):
        download(server.url, target, attempts=1)
    if change == "ranges refused":
        server.ranges = False
    elif change == "file changed":
        server.content, server.etag = CONTENT[::-1], '"two"'
    download(server.url, target)
    assert target.read_bytes() == server.content


def test_a_server_that_continues_another_file_is_caught(server, target, monkeypatch):
    server.drops = [300_000]
    with pytest.raises(UserError):
        download(server.url, target, attempts=1)
    stored = target.with_name("archive.tar.gz.part.json")
    stored.write_text(stored.read_text().replace("one", "two"))
    monkeypatch.setattr(Server, "etag", '"two"', raising=False)
    original = server.etag

    class Careless(str):
        """Equal to every If-Range, as of a server that does not look at it."""

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

    server.etag = Careless(original)
    server.content = CONTENT[::-1]
    download(server.url, target)
    assert target.read_bytes() == CONTENT[::-1]


def test_a_part_longer_than_the_file_is_dropped(server, target):
    server.drops = [300_000]
    with pytest.raises(UserError):
        download(server.url, target, attempts=1)
    server.content = CONTENT[:1000]
    download(server.url, target)
    assert target.read_bytes() == CONTENT[:1000]


def test_wrong_checksum_keeps_nothing(server, target):
    with pytest.raises(UserError, match=f"has sha256 {SHA256}, expected {'0' * 64}"):
        download(server.url, target, sha256="0" * 64)
    assert names(target) == []


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_not_tried_again(server, target, status):
    server.statuses = [status] * 5
    with pytest.raises(UserError, match=str(status)) as caught:
        download(server.url, target)
    assert len(server.requests) == 1
    assert "\n" not in str(caught.value)


def test_a_busy_server_is_tried_again(server, target, caplog):
    server.statuses = [503, 429, 500]
    caplog.set_level(logging.WARNING)
    download(server.url, target, sha256=SHA256)
    assert len(server.requests) == 4
    assert [
        record.getMessage().partition("; trying again in ")[0] for record in caplog.records
    ] == [
        "the server answered 503 Service Unavailable",
        "the server answered 429 Too Many Requests",
        "the server answered 500 Internal Server Error",
    ]


def test_a_truncated_body_is_never_taken_for_the_file(server, target):
    server.drops = [1000] * 3
    server.ranges = False
    with pytest.raises(UserError, match="in 3 attempts: the connection broke after 1000 bytes"):
        download(server.url, target, attempts=3)
    assert not target.exists()


def test_a_stalled_server_is_given_up(server, target):
    server.drops, server.stall = [1000], True
    with pytest.raises(UserError, match="(?i)timed out"):
        download(server.url, target, attempts=1, read_timeout=0.2)


def test_no_server(target):
    with pytest.raises(UserError, match="in 1 attempts"):
        download("http://127.0.0.1:9/x", target, attempts=1)


def test_local_files_are_verified_where_they_lie(tmp_path, target):
    path = tmp_path / "a file.bin"
    path.write_bytes(CONTENT)
    assert download(str(path), target, sha256=SHA256) == path
    assert download(path.as_uri(), target, sha256=SHA256) == path
    with pytest.raises(UserError, match="expected " + "0" * 64):
        download(str(path), target, sha256="0" * 64)
    with pytest.raises(UserError, match="no such file"):
        download(str(tmp_path / "missing"), target)
    with pytest.raises(UserError, match="ftp://host/x"):
        download("ftp://host/x", target)
    with pytest.raises(UserError, match="64 hexadecimal digits"):
        download(str(path), target, sha256="abc")
    assert not target.parent.exists()
