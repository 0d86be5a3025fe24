"""What `gcsfs` asks of Google Cloud Storage's JSON API, on loopback: lists, objects and ranges."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from helpers.loopback import answering


class Bucket:
    """Objects with their generations."""

    def __init__(self, name: str, objects: dict[str, bytes]) -> None:
        self.name = name
        self.address = ""
        self.objects: dict[str, tuple[bytes, int]] = {}
        for key, content in objects.items():
            self.put(key, content)

    def put(self, key: str, content: bytes) -> None:
        self.objects[key] = (content, self.objects.get(key, (b"", 0))[1] + 1)

    def about(self, key: str) -> dict[str, Any]:
        content, generation = self.objects[key]
        return {
            "name": key,
            "bucket": self.name,
            "size": str(len(content)),
            "generation": str(generation),
            "updated": "2026-01-01T00:00:00.000Z",
        }


def _handler(bucket: Bucket) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            place = re.fullmatch(r"(?:/download)?/storage/v1/b/([^/]+)(?:/o(?:/(.*))?)?", url.path)
            if place is None or place[1] != bucket.name:
                self.answer(404, b'{"error": {"message": "no such bucket"}}')
            elif place[2] is None:
                prefix = query.get("prefix", "")
                keys = [key for key in sorted(bucket.objects) if key.startswith(prefix)]
                items = [bucket.about(key) for key in keys]
                self.answer(200, json.dumps({"items": items}).encode())
            elif (key := unquote(place[2])) not in bucket.objects:
                self.answer(404, b'{"error": {"message": "no such object"}}')
            elif query.get("alt") == "media" or url.path.startswith("/download"):
                content = bucket.objects[key][0]
                if part := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
                    self.answer(206, content[int(part[1]) : int(part[2]) + 1])
                else:
                    self.answer(200, content)
            else:
                self.answer(200, json.dumps(bucket.about(key)).encode())

        def answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


@contextmanager
def serving_gcs(name: str, objects: dict[str, bytes]) -> Iterator[Bucket]:
    """Serves one bucket until the block ends.

    Args:
      name: of the bucket.
      objects: content by key.
    """
    bucket = Bucket(name, objects)
    with answering(_handler(bucket)) as server:
        bucket.address = server.address
        yield bucket
