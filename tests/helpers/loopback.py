"""HTTP servers of tests, on this machine alone, that end with the test."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LoopbackServer(ThreadingHTTPServer):
    """A server on a free port of 127.0.0.1; a client that goes away is not reported."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def address(self) -> str:
        """The server's URL without a path: "http://127.0.0.1:PORT"."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints what failed, to standard error, unless the client has closed the connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def answering(
    handler: type[BaseHTTPRequestHandler], before_stopping: Callable[[], None] = lambda: None
) -> Iterator[LoopbackServer]:
    """Answers requests by `handler` until the block ends.

    Args:
        handler: What answers one request.
        before_stopping: Called when the block ends, to let requests go that still wait.
    """
    http = LoopbackServer(handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield http
    finally:
        before_stopping()
        http.shutdown()
        thread.join()
        http.server_close()
