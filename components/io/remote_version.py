"""Which version of a remote file a copy is, and whether the server still has the same."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from inception_finetune.components.io.address import public_address, without_secrets

if TYPE_CHECKING:
    import requests


def version_of(response: "requests.Response") -> str | None:
    """Returns the ETag that a server gives its file, else the file's date, if it gives one."""
    return response.headers.get("ETag") or response.headers.get("Last-Modified")


def store_version(target: Path, version: str | None) -> None:
    """Writes beside a complete copy which version it is.

    Args:
      target: the copy.
      version: as `version_of` returns it.
    """
    note = _note(target)
    temporary = note.with_name(note.name + ".part")
    temporary.write_text(json.dumps({"version": version}) + "\n")
    temporary.replace(note)


def forget_version(target: Path) -> None:
    """Removes what `store_version` wrote, before the copy is replaced by another."""
    _note(target).unlink(missing_ok=True)


def is_current(
    session: "requests.Session", source: str, target: Path, timeout: tuple[float, float]
) -> bool:
    """Asks the server whether a copy is of the file that it has now.

    Where that cannot be told, because the server is not reached, refuses, or gives its files no
    version, the copy is used. That, and a change, are said in a line on stderr.

    Args:
      session: to ask with.
      source: http(s) URL of the file.
      target: the copy, which exists.
      timeout: seconds for connecting, and without a byte.

    Returns:
      False where it has to be downloaded again.
    """
    import requests

    shown = public_address(source)
    is_known, version = _stored_version(target)
    headers = {"Accept-Encoding": "identity"}
    if version:
        # A date holds no quotation mark, and an ETag does.
        headers["If-None-Match" if '"' in version else "If-Modified-Since"] = version
    try:
        with session.get(source, headers=headers, stream=True, timeout=timeout) as response:
            status, reason = response.status_code, response.reason
            offered, length = version_of(response), response.headers.get("Content-Length")
    except (requests.RequestException, ValueError) as error:
        reason = str(getattr(error.args[0], "reason", None) or error) if error.args else str(error)
        return use_copy(shown, target, without_secrets(" ".join(reason.split())[:200].rstrip(".")))
    if status == 304 or (status == 200 and version and offered == version):
        return True
    if status != 200:
        return use_copy(shown, target, f"the server answered {status} {reason}")
    is_same_length = length == str(target.stat().st_size)
    if is_known and not version and not offered and is_same_length:
        return use_copy(shown, target, "the server gives neither its version nor its date")
    change = "has changed" if is_known else "may have changed"
    _say(f"{shown} {change} since {target} was downloaded: it is downloaded again")
    return False


def use_copy(shown: str, target: Path, reason: str) -> bool:
    """Says that a copy is used though it may not be what the server has now.

    Args:
      shown: address of the server's file, as it may be shown.
      target: the copy.
      reason: why that cannot be told.

    Returns:
      True: the copy counts as current.
    """
    _say(
        f"whether {shown} has changed cannot be told: {reason.rstrip('.')}; the copy {target} is "
        "used"
    )
    return True


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _note(target: Path) -> Path:
    return target.with_name(target.name + ".version.json")


def _stored_version(target: Path) -> tuple[bool, str | None]:
    """Returns whether the copy's version was noted, and the version if the server gave one."""
    try:
        version = json.loads(_note(target).read_text())["version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False, None
    return True, version if isinstance(version, str) else None
