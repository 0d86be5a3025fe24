"""A real HTTP server on this machine that breaks off, stalls, lies and sends elsewhere."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from helpers.loopback import answering


@dataclass
class Server:
    """What the server offers; tests change it between or during requests."""

    content: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    of_ranges: bytes | None = None  # what it continues with, whatever If-Range says
    length: int | None = None  # what Content-Length says; None where that is true
    tells_length: bool = True
    statuses: list[int] = field(default_factory=list)  # of the next answers, before it serves
    redirects: list[str] = field(default_factory=list)  # where the next answers send to
    drops: list[int] = field(default_factory=list)  # the next answers break off after so many bytes
    stalls: int = 0  # of the next answers: they wait where they end
    requests: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)  # of the requests
    address: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"{self.address}/archive.tar.gz"


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:  # noqa: N802
            server.requests.append(dict(self.headers))
            server.paths.append(self.path)
            if server.redirects:
                self.send_response(302)
                self.send_header("Location", server.redirects.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif server.statuses:
                self.send_error(server.statuses.pop(0))
            else:
                self.serve()

        def serve(self) -> None:
            body, first = server.content, 0
            wanted = self.headers.get("Range")
            if server.etag and self.headers.get("If-None-Match") == server.etag:
                self.send_response(304)
                self.end_headers()
                return
            same = self.headers.get("If-Range") in (None, server.etag)
            if wanted and server.ranges and (same or server.of_ranges is not None):
                body = body if server.of_ranges is None else server.of_ranges
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
            if server.tells_length:
                length = len(body) - first if server.length is None else server.length
                self.send_header("Content-Length", str(length))
            self.end_headers()
            end = first + server.drops.pop(0) if server.drops else len(body)
            self.wfile.write(body[first:end])
            if server.stalls:
                server.stalls -= 1
                self.wfile.flush()
                server.stopping.wait(5)

    return Handler


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    """Serves `content` until the block ends."""
    state = Server(content)
    with answering(handler(state), before_stopping=state.stopping.set) as http:
        state.address = http.address
        yield state
