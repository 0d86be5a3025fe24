"""Handles are resolved, fetched once, pinned, and never left half-written."""

import io
import json
import tarfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import tensorflow_hub

from helpers.loopback import answering
from helpers.web_server import serving
from inception_finetune.components.backbone import module
from inception_finetune.components.errors import UserError


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

    with answering(Handler) as server:
        server.requests, server.answers = [], {}
        server.url = server.address
        yield server


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
    names = [first.name, pin.name, f"{first.name}.descriptor.txt"]  # the last one is TF-Hub's
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_changed_copy_is_refused(hub, tmp_path):
    hub.answers[COMPRESSED] = archive_bytes(MODULE)
    directory = module.resolve(hub.url + HANDLE, tmp_path)
    (directory / "saved_model.pb").write_bytes(b"grapf")
    with pytest.raises(UserError, match="which was pinned"):
        module.resolve(hub.url + HANDLE, tmp_path)


def test_a_server_that_changed_its_mind_is_refused(hub, tmp_path):
    hub.answers[COMPRESSED] = archive_bytes(MODULE)
    directory = module.resolve(hub.url + HANDLE, tmp_path)
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    directory.rmdir()
    hub.answers[COMPRESSED] = archive_bytes(MODULE | {"./saved_model.pb": b"another"})
    with pytest.raises(UserError, match="which was pinned"):
        module.resolve(hub.url + HANDLE, tmp_path)


def folder_member(name):
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    return member


def test_what_tf_hub_itself_has_fetched_is_used(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(folder_member("./variables"))  # TF-Hub makes no folder that is not named
        for name, content in MODULE.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    hub.answers[COMPRESSED] = buffer.getvalue()
    expected = tensorflow_hub.resolve(hub.url + HANDLE)
    del hub.answers[COMPRESSED]
    assert module.resolve(hub.url + HANDLE, tmp_path / "ours") == Path(expected)
    assert hub.requests == [COMPRESSED]
    (pin,) = (tmp_path / "ours").iterdir()
    (Path(expected) / "saved_model.pb").write_bytes(b"grapf")
    with pytest.raises(UserError, match=f"which was pinned.*{pin.name}"):
        module.resolve(hub.url + HANDLE, tmp_path / "ours")


def test_tf_hub_finds_what_was_fetched(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    hub.answers[COMPRESSED] = archive_bytes(MODULE)
    directory = module.resolve(hub.url + HANDLE, tmp_path / "ours")
    assert directory.parent == tmp_path / "hub"
    assert tensorflow_hub.resolve(hub.url + HANDLE) == str(directory)
    assert hub.requests == [COMPRESSED]


def test_a_broken_download_of_a_handle_goes_on_and_leaves_no_lock(tmp_path, monkeypatch):
    monkeypatch.setattr("inception_finetune.components.io.download.FIRST_WAIT", 0.01)
    content = archive_bytes(MODULE)
    with serving(content) as server:
        server.drops = [20] * 5
        handle = f"{server.address}{HANDLE}?version=1"
        with pytest.raises(UserError, match=r"continue from there; where no pretrained module"):
            module.resolve(handle, tmp_path)
        assert {path.suffix for path in tmp_path.iterdir()} == {".part", ".json"}
        server.drops = []
        directory = module.resolve(handle, tmp_path)
        assert (directory / "saved_model.pb").read_bytes() == b"graph"
        assert "Range" in server.requests[-1]
        assert set(server.paths) == {f"{HANDLE}?version=1&tf-hub-format=compressed"}


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED", "TFHUB_MODEL_LOAD_FORMAT is UNCOMPRESSED"),
        (
            "TFHUB_CACHE_DIR",
            "gs://bucket/hub",
            "TFHUB_CACHE_DIR is gs://bucket/hub, .* Name a folder",
        ),
        (
            "TFHUB_CACHE_DIR",
            "/dev/null/hub",
            "cache /dev/null/hub cannot be used: /dev/null is not",
        ),
    ],
)
def test_settings_of_tf_hub_that_cannot_be_followed_are_named(
    hub, tmp_path, monkeypatch, variable, value, complaint
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=complaint) as caught:
        module.resolve(hub.url + HANDLE, tmp_path)
    assert "\n" not in str(caught.value)
    assert not hub.requests


@pytest.mark.parametrize("path", ["/files/m.tar.gz?sign=1", "/files/m.tgz", "/files/m.h5"])
def test_the_address_of_a_file_is_asked_for_as_it_is(hub, tmp_path, path):
    hub.answers[path] = archive_bytes(MODULE)
    module.resolve(hub.url + path, tmp_path)
    assert hub.requests == [path]


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


def is_weights(path):
    return path.is_file() and path.read_bytes() == b"weights"


def test_weights_by_their_url_are_kept_as_they_came(hub, tmp_path):
    hub.answers["/files/net%20v3.ckpt?token=x"] = b"weights"
    handle = f"{hub.url}/files/net%20v3.ckpt?token=x"
    first = module.resolve(handle, tmp_path, is_weights)
    assert (first.name, first.read_bytes()) == ("net%20v3.ckpt", b"weights")
    assert module.resolve(handle, tmp_path, is_weights) == first
    assert len(hub.requests) == 1
    assert len(list(tmp_path.iterdir())) == 2  # the copy and its pin
    first.write_bytes(b"other")
    with pytest.raises(UserError, match="which was pinned"):
        module.resolve(handle, tmp_path, is_weights)


def test_a_url_of_anything_else_leaves_nothing(hub, tmp_path):
    hub.answers["/files/net.ckpt"] = b"<html>"
    with pytest.raises(UserError, match=r"net\.ckpt leads neither to .*make-standin"):
        module.resolve(f"{hub.url}/files/net.ckpt", tmp_path, is_weights)
    assert not list(tmp_path.iterdir())


def test_local_weights_are_used_where_they_are(tmp_path):
    (tmp_path / "net.tar.gz").write_bytes(b"weights")
    found = module.resolve(str(tmp_path / "net.tar.gz"), tmp_path / "cache", is_weights)
    assert found == tmp_path / "net.tar.gz"
    assert not (tmp_path / "cache").exists()


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
    with pytest.raises(UserError, match=r"has no saved_model\.pb.*make-standin"):
        module.resolve(str(tmp_path), tmp_path / "cache")
    with pytest.raises(UserError, match="nowhere is not a backbone.*make-standin"):
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


def test_what_a_link_leads_to_is_not_removed(hub, tmp_path):
    """The pin is lost, and the copy was moved to another disk."""
    cache, disk = tmp_path / "cache", tmp_path / "disk"
    hub.answers["/files/net.ckpt"] = b"weights"
    copy = module.resolve(f"{hub.url}/files/net.ckpt", cache, is_weights).parent
    copy.rename(disk)
    copy.symlink_to(disk)
    copy.with_suffix(".json").unlink()
    with pytest.raises(UserError, match="is a link, and .*json beside it is missing"):
        module.resolve(f"{hub.url}/files/net.ckpt", cache, is_weights)
    assert (disk / "net.ckpt").read_bytes() == b"weights"
