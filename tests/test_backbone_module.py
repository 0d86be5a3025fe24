"""Handles are resolved, fetched once, pinned, and never left half-written."""

import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from components.backbone import module
from components.errors import UserError


def archive_bytes(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


MODULE = {
    "./saved_model.pb": b"graph",
    "./variables/variables.index": b"index",
    "./variables/variables.data-00000-of-00001": b"data",
}


@pytest.fixture
def hub():
    """A server with TF-Hub's protocol on this machine; `answer` and `requests` can be set."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.requests.append(self.path)
            if self.path not in server.answers:
                self.send_error(404)
                return
            body = server.answers[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.answers = [], {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


HANDLE = "/google/imagenet/inception_v3/feature_vector/5"
COMPRESSED = f"{HANDLE}?tf-hub-format=compressed"


def test_handle_is_fetched_once_and_pinned(hub, tmp_path):
    hub.answers[COMPRESSED] = archive_bytes(MODULE)
    first = module.resolve(hub.url + HANDLE, tmp_path)
    assert (first / "saved_model.pb").read_bytes() == b"graph"
    assert module.resolve(hub.url + HANDLE, tmp_path) == first
    assert hub.requests == [COMPRESSED]
    (pin,) = tmp_path.glob("*.json")
    content = json.loads(pin.read_text())
    assert content["handle"] == hub.url + HANDLE
    assert content["fingerprint"] == module.fingerprint(first)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([first.name, pin.name])


def test_changed_copy_is_refused(hub, tmp_path):
    hub.answers[COMPRESSED] = archive_bytes(MODULE)
    directory = module.resolve(hub.url + HANDLE, tmp_path)
    (directory / "saved_model.pb").write_bytes(b"grapf")
    with pytest.raises(UserError, match="must be the one that was pinned"):
        module.resolve(hub.url + HANDLE, tmp_path)


def test_a_server_that_changed_its_mind_is_refused(hub, tmp_path):
    hub.answers[COMPRESSED] = archive_bytes(MODULE)
    directory = module.resolve(hub.url + HANDLE, tmp_path)
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    directory.rmdir()
    hub.answers[COMPRESSED] = archive_bytes(MODULE | {"./saved_model.pb": b"another"})
    with pytest.raises(UserError, match="must be the one that was pinned"):
        module.resolve(hub.url + HANDLE, tmp_path)


def test_direct_archive_url_with_one_directory(hub, tmp_path):
    inside = {f"inception/{name.removeprefix('./')}": body for name, body in MODULE.items()}
    hub.answers["/files/m.tar.gz"] = archive_bytes(inside)
    directory = module.resolve(f"{hub.url}/files/m.tar.gz", tmp_path)
    assert (directory / "variables" / "variables.index").read_bytes() == b"index"


def test_missing_module_names_the_standin_and_leaves_nothing(hub, tmp_path):
    with pytest.raises(UserError, match=r"404.*inception-finetune backbone make-standin"):
        module.resolve(hub.url + HANDLE, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"readme.txt": b"x"}, "holds readme.txt"),
        ({"../saved_model.pb": b"x"}, "outside"),
    ],
)
def test_bad_archive_leaves_nothing(hub, tmp_path, files, complaint):
    hub.answers[COMPRESSED] = archive_bytes(files)
    with pytest.raises(UserError, match=complaint):
        module.resolve(hub.url + HANDLE, tmp_path)
    assert not list(tmp_path.iterdir())


def test_local_directory_is_used_where_it_is(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    assert module.resolve(str(tmp_path), tmp_path / "cache") == tmp_path
    assert not (tmp_path / "cache").exists()


def test_local_archive_is_unpacked(tmp_path):
    archive = tmp_path / "m.tar.gz"
    archive.write_bytes(archive_bytes(MODULE))
    directory = module.resolve(str(archive), tmp_path / "cache")
    assert (directory / "saved_model.pb").read_bytes() == b"graph"
    archive.write_bytes(archive_bytes(MODULE | {"./saved_model.pb": b"new"}))
    again = module.resolve(str(archive), tmp_path / "cache")
    assert (again / "saved_model.pb").read_bytes() == b"new"


def test_directory_without_a_graph_and_missing_path_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds a saved_model\.pb.*make-standin"):
        module.resolve(str(tmp_path), tmp_path / "cache")
    with pytest.raises(UserError, match="nowhere is none of them.*make-standin"):
        module.resolve(str(tmp_path / "nowhere"), tmp_path / "cache")


def test_fingerprint_goes_by_names_and_content(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    data = tmp_path / "variables" / "variables.index"
    data.write_bytes(b"index")
    first = module.fingerprint(tmp_path)
    (tmp_path / "README.txt").write_text("a note")
    data.write_bytes(b"index")  # another date
    assert module.fingerprint(tmp_path) == first
    data.rename(data.with_name("other.index"))
    renamed = module.fingerprint(tmp_path)
    data.with_name("other.index").write_bytes(b"indey")
    assert len({first, renamed, module.fingerprint(tmp_path)}) == 3
