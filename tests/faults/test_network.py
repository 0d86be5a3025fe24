"""A server that fails in every way, under the command that fetches archives and under modules.

Each fault ends in the right bytes or in one line; once the server is well again, the same command
always ends in the right bytes, so that nothing half-written was taken as good before.
"""

import contextlib
import hashlib
import io
import random
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.made_archives import made_members, write_archive
from helpers.web_server import Server, serving
from inception_finetune.components.errors import UserError
from inception_finetune.components.io import download as download_module
from inception_finetune.pipeline import inputs
from inception_finetune.pipeline.cli import main as cli
from inception_finetune.pipeline.config import load_config

PAGE = b"<!DOCTYPE html><html><body>Please sign in to this network.</body></html>" * 100
ATTEMPTS = 5  # of one download


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Waits for nothing that a person would wait for."""
    monkeypatch.setattr(download_module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(download_module, "LONGEST_WAIT", 0.01)
    monkeypatch.setitem(download_module.download.__kwdefaults__, "read_timeout", 0.2)


@dataclass(frozen=True)
class Fault:
    name: str
    trouble: Callable[[Server], None]
    told: str | None = None  # part of the one line; None: it completes
    checksum: bool = False  # only told by a checksum, which modules have none of


def set_to(server: Server, **fields: object) -> None:
    for name, value in fields.items():
        setattr(server, name, value)


def half(server: Server) -> int:
    return len(server.content) // 2


FAULTS = [
    Fault("stalls once", lambda s: set_to(s, drops=[half(s)], stalls=1)),
    Fault(
        "stalls always",
        lambda s: set_to(s, drops=[100] * ATTEMPTS, stalls=ATTEMPTS),
        "timed out",
    ),
    Fault(
        "stalls before the first byte",
        lambda s: set_to(s, drops=[0] * ATTEMPTS, stalls=ATTEMPTS),
        "timed out",
    ),
    Fault("drops in the middle once", lambda s: set_to(s, drops=[half(s)])),
    Fault(
        "drops in the middle always",
        lambda s: set_to(s, drops=[100] * ATTEMPTS),
        "connection broke",
    ),
    Fault(
        "drops in the middle and refuses ranges",
        lambda s: set_to(s, drops=[half(s)], ranges=False),
    ),
    Fault(
        "drops in the middle without a length",
        lambda s: set_to(s, drops=[half(s)], tells_length=False),
        "damaged or incomplete",
    ),
    Fault("length too large", lambda s: set_to(s, length=len(s.content) + 9), "connection broke"),
    Fault("length too small", lambda s: set_to(s, length=half(s)), "damaged or incomplete"),
    Fault("page instead of the file", lambda s: set_to(s, content=PAGE), "damaged or incomplete"),
    Fault("page instead of the file", lambda s: set_to(s, content=PAGE), "expected", True),
    Fault("empty answer", lambda s: set_to(s, content=b""), "damaged or incomplete"),
    Fault("other bytes", lambda s: set_to(s, content=flipped(s.content)), "expected", True),
    Fault(
        "other file to a range",
        lambda s: set_to(s, drops=[half(s)], of_ranges=bytes(len(s.content))),
        "damaged or incomplete",
    ),
    Fault(
        "other file to a range",
        lambda s: set_to(s, drops=[half(s)], of_ranges=bytes(len(s.content))),
        "expected",
        checksum=True,
    ),
    Fault(
        "shorter file to a range",
        lambda s: set_to(s, drops=[half(s)], of_ranges=b"short"),
    ),
    Fault("busy, then fine", lambda s: set_to(s, statuses=[503, 500, 429])),
    Fault("busy always", lambda s: set_to(s, statuses=[503] * ATTEMPTS), "503"),
    Fault("not found", lambda s: set_to(s, statuses=[404]), "404"),
    Fault("redirect to another path", lambda s: set_to(s, redirects=["/elsewhere.tar.gz"])),
    Fault(
        "redirect to a file of this machine",
        lambda s: set_to(s, redirects=["file:///etc/passwd"]),
        "file:",
    ),
    Fault(
        "redirect to another protocol", lambda s: set_to(s, redirects=["ftp://127.0.0.1/x"]), "ftp:"
    ),
    Fault(
        "redirect to nowhere",
        lambda s: set_to(s, redirects=["http://127.0.0.1:9/x"] * 9),
        "refused",
    ),
    Fault(
        "redirect that never ends",
        lambda s: set_to(s, redirects=["/archive.tar.gz"] * 99),
        "redirect",
    ),
    Fault(
        "redirect to what is no address", lambda s: set_to(s, redirects=["http://[x/"]), "address"
    ),
]


def flipped(content: bytes) -> bytes:
    """One bit more or less, where gzip's checksum would tell it as well."""
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.fixture
def archive(tmp_path) -> bytes:
    return write_archive(tmp_path / "made.tar.gz", made_members()).read_bytes()


@pytest.fixture
def module() -> bytes:
    """What a hub would send: to be fetched, a module needs no network inside."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in (
            ("saved_model.pb", b"graph"),
            ("variables/variables.index", b"index"),
            ("variables/variables.data-00000-of-00001", random.Random(0).randbytes(9000)),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def command(*arguments: str) -> tuple[int, str, str]:
    """The real command in this process: exit status, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["inception-finetune", *arguments])
        try:
            cli.main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
    return status, out.getvalue(), err.getvalue()


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("Downloading ")]


def fetch_archive(url: str, cache: Path, content: bytes, checksum: bool) -> str:
    """The one line; "" where the right archive has come."""
    arguments = [f"dataset.archive={url}", f"cache={cache}"]
    if checksum:
        arguments.append(f"dataset.sha256={hashlib.sha256(content).hexdigest()}")
    status, out, err = command("data", "fetch", *arguments)
    if status == 0:
        assert Path(out.strip()).read_bytes() == content
        return ""
    assert status == 1 and not out
    [line] = [line for line in errors(err) if "; trying again in " not in line]
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def fetch_module(url: str, cache: Path, content: bytes) -> str:
    """The same for a backbone, whose unpacked files are compared."""
    config = load_config("digits", [f"backbone.handle={url}", f"cache={cache}"])
    try:
        directory = inputs.resolve_backbone(config)
    except UserError as error:
        assert "\n" not in str(error)
        return str(error)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            assert (directory / member.name).read_bytes() == tar.extractfile(member).read()
    return ""


def shown(message: str, cache: Path, server: Server) -> str:
    return message.replace(str(cache), "…").replace(server.address, "http://SERVER")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_archive_comes_whole_or_not_at_all(fault: Fault, archive, tmp_path, recorder):
    with serving(archive) as server:
        fault.trouble(server)
        cache = tmp_path / "cache"
        message = fetch_archive(server.url, cache, archive, fault.checksum)
        expect(fault, message, server)
        kept = [path.name for path in (cache / "archives").glob("*.tar.gz")]
        assert bool(kept) == (fault.told is None)
        heal(server, archive)
        assert fetch_archive(server.url, cache, archive, fault.checksum) == ""
        recorder.add(
            "network",
            fault.name,
            survived=1,
            message=shown(message, cache, server),
        )


@pytest.mark.parametrize(
    "fault", [one for one in FAULTS if not one.checksum], ids=lambda fault: fault.name
)
def test_a_module_comes_whole_or_not_at_all(fault: Fault, module, tmp_path, recorder):
    with serving(module) as server:
        fault.trouble(server)
        message = fetch_module(server.url, tmp_path, module)
        expect(fault, message, server)
        if fault.told:
            assert "make-standin" in message
            kept = {path.suffix for path in (tmp_path / "backbones").iterdir()}
            assert kept <= {".part", ".json"}
        heal(server, module)
        assert fetch_module(server.url, tmp_path, module) == ""
        recorder.add(
            "network",
            fault.name,
            survived=1,
            message=shown(message, tmp_path, server),
        )


def expect(fault: Fault, message: str, server: Server) -> None:
    assert server.requests
    if fault.told is None:
        assert message == ""
    else:
        assert fault.told in message


def heal(server: Server, content: bytes) -> None:
    """As it was before any trouble."""
    well = Server(content, address=server.address, stopping=server.stopping)
    vars(server).update(vars(well))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(PAGE)])
def test_an_archive_that_was_fetched_is_lost_or_damaged(damage, archive, tmp_path, recorder):
    with serving(archive) as server:
        assert fetch_archive(server.url, tmp_path, archive, checksum=False) == ""
        [fetched] = (tmp_path / "archives").glob("*.tar.gz")
        damage(fetched)
        assert fetch_archive(server.url, tmp_path, archive, checksum=False) == ""
        recorder.add("network", "fetched archive vanishes or is damaged later", survived=1)


def test_a_redirect_to_another_host(archive, tmp_path, recorder):
    with serving(archive) as elsewhere, serving(b"") as server:
        server.redirects = [elsewhere.url.replace("127.0.0.1", "localhost")]
        assert fetch_archive(server.url, tmp_path, archive, checksum=True) == ""
        assert elsewhere.requests
    recorder.add("network", "redirect to another host", survived=1)


@pytest.mark.parametrize(
    ("fault", "url", "told"),
    [
        ("connection refused", "http://127.0.0.1:9/x.tar.gz", "Connection refused"),
        ("name that does not resolve", "http://nowhere.invalid/x.tar.gz", "nowhere.invalid"),
        ("address that is none", "http://[x/x.tar.gz", "address"),
        ("address that is none", "http://127.0.0.1:99999/x.tar.gz", "address"),
        ("address that is none", "http:///x.tar.gz", "address"),
    ],
)
def test_no_server_at_all(fault, url, told, archive, module, tmp_path, recorder):
    for message in (
        fetch_archive(url, tmp_path / "a", archive, checksum=False),
        fetch_module(url, tmp_path / "b", module),
    ):
        assert told in message
        recorder.add("network", fault, survived=1, message=message)
