"""Places in object stores, and their copies in a task's own file system.

TFX's file layer opens neither ``minio://`` nor, as TensorFlow is built today, ``s3://``; and some
of what runs in a task reads plain files. So every task works on copies, whatever the store.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from inception_finetune.components.errors import UserError

# By the scheme of a place: fsspec's name for what opens it. MinIO speaks S3.
PROTOCOLS = {"s3": "s3", "minio": "s3", "gs": "gs"}
_REMOTE = re.compile(rf"({'|'.join(PROTOCOLS)})://")
# Copied last: TensorFlow Serving takes a version up as soon as it sees this file.
_LAST = "saved_model.pb"


def is_remote(place: str) -> bool:
    """Whether an address is in an object store, and not a path on this machine."""
    return bool(_REMOTE.match(place))


def working_directory() -> Path:
    """The folder of a task's copies."""
    return Path(tempfile.gettempdir()) / "inception-finetune"


def local_copy(place: str) -> str:
    """The path of the copy of a file or folder.

    Args:
      place: its address.

    Returns:
      ``<working directory>/s3/bucket/key`` for ``s3://bucket/key``; a path on this machine as it
      is.

    Raises:
      UserError: the address is in a store and has a part ``..``, which would lead elsewhere.
    """
    if is_remote(place):
        _require_inside(place, place)
    return _REMOTE.sub(lambda match: f"{working_directory()}/{match[1]}/", place)


def remote_places(text: str) -> str:
    """Replaces the paths of copies by the addresses that they were copied from.

    Args:
      text: any text.

    Returns:
      The text with addresses.
    """
    prefix = re.escape(str(working_directory()))
    return re.sub(rf"{prefix}/({'|'.join(PROTOCOLS)})/", r"\1://", text)


def fetch(place: str) -> str:
    """Copies a file or folder from an object store to this machine.

    Args:
      place: its address; a path on this machine is not copied.

    Returns:
      The path of the copy.

    Raises:
      UserError: nothing is there, or the store refuses.
    """
    if not is_remote(place):
        return place
    target = local_copy(place).rstrip("/")
    with _one_line(place):
        store, path = _open(place)
        files = store.find(path, detail=True)
        for file in files:
            _require_inside(file, place)
        if not files:
            raise UserError(
                f"Nothing at {place}, which a task reads. Check the address, and whether the "
                "upload or the task that writes it is complete."
            )
        copies = {file: target + file.removeprefix(path) for file in files}
        for copy in copies.values():
            Path(copy).parent.mkdir(parents=True, exist_ok=True)
        store.get(list(copies), list(copies.values()))
        for file, copy in copies.items():
            # TFX's fingerprint of the data is made of these times. S3's name for it, then GCS's.
            written = files[file].get("LastModified") or files[file]["mtime"]
            os.utime(copy, (written.timestamp(), written.timestamp()))
    return target


def store(directory: Path, place: str) -> None:
    """Copies a directory's files to a folder, ``saved_model.pb`` last.

    Args:
      directory: on this machine.
      place: address of the folder.

    Raises:
      UserError: the store refuses.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    for last in (False, True):
        paths = [path for path in files if (path.name == _LAST) is last]
        if not paths:
            continue
        with _one_line(place):
            target, root = _open(place)
            target.put(
                [str(path) for path in paths],
                [f"{root}/{path.relative_to(directory)}" for path in paths],
            )


def store_file(file: Path, place: str) -> None:
    """Copies one file.

    Args:
      file: on this machine.
      place: address of the copy.

    Raises:
      UserError: the store refuses.
    """
    with _one_line(place):
        target, path = _open(place)
        target.put_file(str(file), path)


def find(place: str) -> list[str]:
    """Lists the files below a folder.

    Args:
      place: address of the folder.

    Returns:
      Sorted paths relative to the folder; none if there is no such folder.

    Raises:
      UserError: the store refuses.
    """
    with _one_line(place):
        store, path = _open(place)
        files = store.find(path)
        for file in files:
            _require_inside(file, place)
        return sorted(file.removeprefix(f"{path}/") for file in files)


def read(place: str) -> bytes | None:
    """Reads a small file.

    Args:
      place: address of the file.

    Returns:
      Its content; None if there is no such file.

    Raises:
      UserError: the store refuses.
    """
    with _one_line(place):
        store, path = _open(place)
        return store.cat_file(path) if store.exists(path) else None


def read_in_folders(place: str, name: re.Pattern[str], file: str) -> dict[str, bytes]:
    """Reads a small file in each of the folders that lie directly below a place.

    Args:
      place: address of the folder above them.
      name: what the whole name of a folder must match.
      file: name of the file.

    Returns:
      Content by the folder's name; without folders that have no such file.

    Raises:
      UserError: the store refuses.
    """
    with _one_line(place):
        store, path = _open(place)
        try:
            names = [listed.rstrip("/").rpartition("/")[2] for listed in store.ls(path, False)]
        except FileNotFoundError:
            return {}
        files = {f"{path}/{one}/{file}": one for one in names if name.fullmatch(one)}
        found = {}
        for key, content in (store.cat(list(files), on_error="return") if files else {}).items():
            if isinstance(content, bytes):
                found[files[key]] = content
            elif not isinstance(content, FileNotFoundError | NotADirectoryError):
                raise content
        return found


def write(content: bytes, place: str) -> None:
    """Writes a small file.

    Args:
      content: of the file.
      place: its address.

    Raises:
      UserError: the store refuses.
    """
    with _one_line(place):
        store, path = _open(place)
        store.pipe_file(path, content)


def _require_inside(key: str, place: str) -> None:
    """Refuses a key that would be copied to another folder than its own: it is no path."""
    if ".." in key.split("/"):
        raise UserError(
            f"{place} is refused: its key {key!r} leads outside of it. Remove or rename that "
            "object."
        )


def _open(place: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The store and the path in it; without memory of earlier listings."""
    if not is_remote(place):
        return fsspec.filesystem("file", auto_mkdir=True), str(Path(place).resolve())
    scheme, _, path = place.partition("://")
    store = fsspec.filesystem(PROTOCOLS[scheme], use_listings_cache=False)
    return store, path.rstrip("/")


@contextmanager
def _one_line(place: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    # Three libraries and the network are below: anything may come out of them.
    except Exception as error:
        message = " ".join(str(error).split())[:240].rstrip(".") or type(error).__name__
        raise UserError(
            f"No access to {place}: {message}. Check the address, the credentials in the "
            "environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY; "
            "GOOGLE_APPLICATION_CREDENTIALS) and the bucket's name."
        ) from error
