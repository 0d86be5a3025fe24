"""Downloads with resumption and verification; an incomplete file never counts as complete."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.address import public_address, without_secrets
from inception_finetune.components.io.checksums import Checksums
from inception_finetune.components.io.partial_file import PartialFile
from inception_finetune.components.io.remote_version import (
    forget_version,
    is_current,
    store_version,
    version_of,
)
from inception_finetune.components.io.tar import extract_tar
from inception_finetune.components.progress import progress

if TYPE_CHECKING:
    import requests
    from tenacity import RetryCallState

__all__ = ["download", "extract_tar", "is_remote"]

CONNECT_TIMEOUT: Final = 10.0  # seconds
READ_TIMEOUT: Final = 60.0  # seconds without a byte
FIRST_WAIT: Final = 1.0  # seconds before the second attempt; doubled with each further one
LONGEST_WAIT: Final = 30.0  # seconds
CHUNK: Final = 1 << 18  # bytes

# Server faults that pass: request timeout, too early, too many requests, and all of 5xx.
_PASSING_STATUS: Final = frozenset({408, 425, 429})

_CONNECTION: Final = re.compile(r"^HTTPS?Connection(Pool)?\([^)]*\): ")  # in urllib3's words


class _InterruptedError(Exception):
    """This attempt failed; another one may succeed."""


def download(
    source: str,
    target: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    check: Callable[[Path], None] | None = None,
    attempts: int = 5,
    read_timeout: float = READ_TIMEOUT,
    revalidate: bool = False,
) -> Path:
    """Returns the local path of `source`, verified; downloads it to `target` if it is remote.

    A local file is verified and returned where it is. An existing `target` is returned at once if
    it passes the checksums and `check`, unless `revalidate` finds that the server has another. An
    interrupted download continues from ``<target>.part``, in this call or a later one, as long as
    the server still offers the same file.

    Args:
      source: an http(s) URL, a ``file://`` URL or a path.
      target: where a remote file is stored.
      sha256: expected digest in hexadecimal, if known.
      md5: expected digest in hexadecimal, if known.
      check: is called with the downloaded file and raises UserError if it cannot be the right one.
      attempts: how often a broken connection is tried, in total.
      read_timeout: seconds without a byte until an attempt fails.
      revalidate: whether the server is asked if it still has the file that `target` is a copy of,
        where no checksum tells. ``<target>.version.json`` remembers its version.

    Raises:
      UserError: the source is missing, cannot be reached, or has another checksum.
    """
    checksums = Checksums.of(sha256, md5)
    if not is_remote(source):
        return _local(source, checksums)
    is_there = target.exists() and not checksums.mismatch(target) and _passes(check, target)
    if is_there and (checksums.expected or not revalidate):
        return target

    import requests
    from tenacity import (
        Retrying,
        retry_if_exception_type,
        stop_after_attempt,
        wait_exponential_jitter,
    )

    part, shown = PartialFile(target, source), public_address(source)
    retrying = Retrying(
        retry=retry_if_exception_type(_InterruptedError),
        stop=stop_after_attempt(attempts),
        wait=wait_exponential_jitter(initial=FIRST_WAIT, max=LONGEST_WAIT, jitter=FIRST_WAIT),
        before_sleep=_announce_retry,
        reraise=True,
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with requests.Session() as session:
            if is_there and is_current(session, source, target, (CONNECT_TIMEOUT, read_timeout)):
                return target
            retrying(_attempt, session, part, read_timeout)
        if mismatch := checksums.mismatch(part.path):
            part.discard()
            raise UserError(
                f"Download of {shown} has {mismatch}; nothing of it was kept. Correct the "
                "checksum, or ask the publisher for the right file."
            )
        if check:
            _check_part(part, check)
        forget_version(target)
        part.complete()
        if revalidate:
            store_version(target, part.version)
    except _InterruptedError as error:
        raise UserError(
            f"Cannot download {shown} in {attempts} attempts: {error}. The part that has "
            "arrived is kept: run the command again to continue from there."
        ) from error
    except (requests.RequestException, ValueError) as error:  # of an address, or a redirect's
        raise UserError(f"Cannot download {shown}: {_reason(error)}. Check the address.") from error
    except OSError as error:
        raise UserError(
            f"Cannot write the download of {shown} to {target}: {error}. Free disk space or "
            "change the permissions."
        ) from error
    return target


def is_remote(source: str) -> bool:
    """Returns whether `source` is an http(s) URL.

    Raises:
      UserError: `source` can be neither an address nor a path.
    """
    try:
        return urlsplit(source).scheme in ("http", "https")
    except ValueError as error:
        shown, reason = public_address(source), without_secrets(str(error))
        raise UserError(f"{shown!r} is not an address: {reason}. Correct it.") from error


def _passes(check: Callable[[Path], None] | None, path: Path) -> bool:
    try:
        if check:
            check(path)
    except UserError:
        return False
    return True


def _check_part(part: PartialFile, check: Callable[[Path], None]) -> None:
    try:
        check(part.path)
    except UserError as error:
        part.discard()
        raise UserError(
            f"Download of {public_address(part.url)} is refused and nothing of it was kept: {error}"
        ) from error


def _reason(error: Exception) -> str:
    """Returns what went wrong, without what requests and urllib3 wrap around it."""
    reason = error.args[0] if error.args else error
    message = str(getattr(reason, "reason", None) or reason)
    return without_secrets(_CONNECTION.sub("", message)).rstrip(".")


def _announce_retry(state: RetryCallState) -> None:
    """Prints to stderr: TensorFlow and TFX take over logging, and a run shows errors alone."""
    assert state.outcome is not None and state.next_action is not None
    message = f"{state.outcome.exception()}; trying again in {state.next_action.sleep:.0f} s"
    print(message, file=sys.stderr, flush=True)


def local_path(source: str) -> Path | None:
    """Returns the path of what lies on this machine; None of what an http(s) URL names.

    Args:
      source: an http(s) URL, a ``file://`` URL or a path.

    Raises:
      UserError: there is nothing, or `source` is another address.
    """
    return None if is_remote(source) else _local(source, Checksums.of(None, None))


def _local(source: str, checksums: Checksums) -> Path:
    url = urlsplit(source)
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        path = Path(url2pathname(url.path))
    elif "://" in source:
        raise UserError(
            f"{public_address(source)!r} is not a source that can be read: only paths and "
            "http(s):// or file:// URLs can, and s3:// and gs:// addresses as dataset.archive. "
            "Give one of these."
        )
    else:
        path = Path(source).expanduser()
    if not path.exists():
        raise UserError(f"No such file: {path}. Check the path.")
    if checksums.expected and not path.is_file():
        raise UserError(
            f"{path} is a directory, and a checksum can only be given for a file. Remove the "
            "checksum."
        )
    if mismatch := checksums.mismatch(path):
        raise UserError(f"{path} has {mismatch}. Fetch it again, or correct the checksum.")
    return path


def _attempt(session: requests.Session, part: PartialFile, read_timeout: float) -> None:
    import requests

    # Checksums and ranges are those of the stored file: no compression on the way.
    headers = {"Accept-Encoding": "identity"}
    offset, validator = part.size(), part.validator()
    if offset and validator:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    try:
        with session.get(
            part.url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT, read_timeout)
        ) as response:
            _receive(response, part, offset, validator)
    except requests.exceptions.SSLError:
        raise
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _InterruptedError(_reason(error)) from error


def _receive(
    response: requests.Response, part: PartialFile, offset: int, validator: str | None
) -> None:
    from urllib3.exceptions import HTTPError

    total = _total_size(response)
    if response.status_code == 206:
        if _range_start(response) != offset or _validator(response) not in (validator, None):
            part.discard()
            raise _InterruptedError("the server continued another file than the one begun")
    elif response.status_code == 200:
        offset = 0
        part.start(_validator(response))
    elif response.status_code == 416:
        part.discard()
        raise _InterruptedError("the server's file is shorter than the part that had arrived")
    else:
        problem = f"the server answered {response.status_code} {response.reason}"
        if response.status_code >= 500 or response.status_code in _PASSING_STATUS:
            raise _InterruptedError(problem)
        raise UserError(
            f"Cannot download {public_address(part.url)}: {problem}. Check the address."
        )

    part.version = version_of(response) or part.version
    received = offset
    with (
        progress(f"Downloading {part.target.name}", total, "B") as advance,
        part.path.open("ab") as file,
    ):
        advance(offset)
        try:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                received += file.write(chunk)
                advance(len(chunk))
        except HTTPError as error:
            raise _InterruptedError(
                f"the connection broke after {received} bytes: {_reason(error)}"
            ) from error
        if total is not None and received != total:
            raise _InterruptedError(f"{received} of {total} bytes arrived")


def _total_size(response: requests.Response) -> int | None:
    """Returns the size of the whole file in bytes, if the server declares it."""
    text = response.headers.get("Content-Length", "")
    if response.status_code == 206:
        text = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(text) if text.isdecimal() else None


def _range_start(response: requests.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _validator(response: requests.Response) -> str | None:
    """Returns a strong ETag or a date, as If-Range needs it (RFC 9110 13.1.5).

    ``W/`` marks a weak ETag.
    """
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")
