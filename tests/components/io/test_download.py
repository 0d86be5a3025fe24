"""Downloads from a real server that breaks off, changes its file, refuses ranges and stalls."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.web_server import Server, serving
from inception_finetune.components.errors import UserError
from inception_finetune.components.io import download as download_module
from inception_finetune.components.io.download import download

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr(download_module, "FIRST_WAIT", 0.01)
    with serving(CONTENT) as state:
        yield state


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
    with pytest.raises(UserError, match=r"in 1 attempts.*continue from there"):
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


def fetched_before(server: Server, target: Path) -> None:
    download(server.url, target, revalidate=True)
    server.requests.clear()


def test_a_copy_that_the_server_still_has_is_used(server, target, capsys):
    fetched_before(server, target)
    assert download(server.url, target, revalidate=True) == target
    assert [request["If-None-Match"] for request in server.requests] == ['"one"']
    assert "changed" not in capsys.readouterr().err


def test_a_file_that_changed_is_fetched_again_and_that_is_said(server, target, capsys):
    fetched_before(server, target)
    server.content, server.etag = CONTENT[::-1], '"two"'
    download(server.url, target, revalidate=True)
    assert target.read_bytes() == CONTENT[::-1]
    assert f"{server.url} has changed since {target} was downloaded" in capsys.readouterr().err
    server.requests.clear()
    download(server.url, target, revalidate=True)
    assert [request["If-None-Match"] for request in server.requests] == ['"two"']


def test_a_copy_of_an_unknown_version_is_fetched_again(server, target, capsys):
    target.parent.mkdir()
    target.write_bytes(b"of last year")
    download(server.url, target, revalidate=True)
    assert target.read_bytes() == CONTENT
    assert "may have changed since" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("refused", "the server answered 403 Forbidden"),
        ("offline", "Connection refused"),
        ("no version", "the server gives neither its version nor its date"),
    ],
)
def test_a_copy_that_cannot_be_compared_is_used_and_that_is_said(
    server, target, capsys, change, reason
):
    if change == "no version":
        server.etag = None
    fetched_before(server, target)
    source = server.url
    if change == "refused":
        server.statuses = [403]
    elif change == "offline":
        source = "http://127.0.0.1:9/archive.tar.gz?signature=S1GNATURE"
    assert download(source, target, revalidate=True) == target
    assert target.read_bytes() == CONTENT
    said = capsys.readouterr().err.splitlines()[-1]
    assert reason in said and f"the copy {target} is used" in said
    assert "S1GNATURE" not in said


@pytest.mark.parametrize("failure", ["status", "checksum", "no server", "redirect"])
def test_no_message_or_file_tells_a_password_or_a_signature(server, target, capsys, failure):
    source = server.url.replace("://", "://alice:S3CRET@") + "?signature=S1GNATURE"
    if failure == "status":
        server.statuses = [503, 404]
    elif failure == "no server":
        source = "http://alice:S3CRET@127.0.0.1:9/x?signature=S1GNATURE"
    elif failure == "redirect":
        server.redirects = ["nowhere://alice:S3CRET@x/y?signature=S1GNATURE"]
    with pytest.raises(UserError) as held:
        download(source, target, sha256="0" * 64, attempts=2)
    server.drops = [1000]
    with pytest.raises(UserError):
        download(source, target, attempts=1)
    texts = [str(held.value), capsys.readouterr().err]
    texts += [path.read_text("latin-1") for path in target.parent.glob("*")]
    assert not [text for text in texts if "S3CRET" in text or "S1GNATURE" in text]


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


def test_a_server_that_continues_another_file_is_caught(server, target):
    server.drops = [300_000]
    with pytest.raises(UserError):
        download(server.url, target, attempts=1)
    server.content, server.etag = CONTENT[::-1], '"two"'
    server.of_ranges = server.content  # it does not look at If-Range
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


def test_a_busy_server_is_tried_again(server, target, capsys):
    server.statuses = [503, 429, 500]
    download(server.url, target, sha256=SHA256)
    assert len(server.requests) == 4
    told = capsys.readouterr().err.splitlines()
    assert [line.partition("; trying again in ")[0] for line in told[:-1]] == [
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
    server.drops, server.stalls = [1000], 1
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
    with pytest.raises(UserError, match="No such file"):
        download(str(tmp_path / "missing"), target)
    with pytest.raises(UserError, match="ftp://host/x"):
        download("ftp://host/x", target)
    with pytest.raises(UserError, match="64 hexadecimal digits"):
        download(str(path), target, sha256="abc")
    assert not target.parent.exists()
