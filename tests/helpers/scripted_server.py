"""A server that says what a file tells it to: ``scripted_server.py PORT SCRIPT``.

SCRIPT is JSON: `state`, `error_message`, `status` and `body` of each answer to a request for
predictions, and `line`, which is printed at once. It ends itself when `ends` is given.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

script = json.loads(Path(sys.argv[2]).read_text())


class Handler(BaseHTTPRequestHandler):
    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self) -> None:  # noqa: N802
        status = {"error_code": "OK", "error_message": script.get("error_message", "")}
        state = {"version": "1", "state": script.get("state", "AVAILABLE"), "status": status}
        self._send(200, json.dumps({"model_version_status": [state]}))

    def do_POST(self) -> None:  # noqa: N802
        self.rfile.read(int(self.headers["Content-Length"]))
        if "hog" in script:
            self.server.hog = bytearray(script["hog"])  # type: ignore[attr-defined]
        self._send(script.get("status", 200), script.get("body", ""))

    def log_message(self, *arguments) -> None:
        pass


print(script.get("line", ""), flush=True)
if "ends" in script:
    sys.exit(script["ends"])
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
