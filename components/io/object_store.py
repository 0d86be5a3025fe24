"""Object stores, opened through fsspec: what lies at an address, and in which version."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.address import public_address, without_secrets

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_SCHEME: Final = re.compile(r"(s3|gs)://")
# A store's own version of an object, by fsspec's name for it; S3's, then GCS's.
_VERSIONS: Final = ("ETag", "generation")
_TIMES: Final = ("LastModified", "mtime", "updated", "created")
_CREDENTIALS: Final = (
    "Check the address, the network, and the credentials in the environment (AWS_PROFILE, or "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; GOOGLE_APPLICATION_CREDENTIALS; "
    "FSSPEC_S3_ANON=true for a public bucket)."
)


class NotListedError(UserError):
    """A store is not reached, or refuses to tell what it has."""


class StoredObject(NamedTuple):
    """An object of a store, and the file that is to be its copy."""

    key: str  # as the store's file system names it: ``bucket/folder/file``
    version: str  # the ETag or generation, else size and time; another after each change
    size: int  # bytes


class Listing(NamedTuple):
    """What lies at an address."""

    store: AbstractFileSystem
    objects: dict[str, StoredObject]  # by the path of their copies, relative, of POSIX
    name: str  # the last part of the address: the file itself, or the folder of all paths
    is_file: bool


def is_in_store(source: str) -> bool:
    """Returns whether `source` is an address of an object store: s3:// or gs://."""
    return bool(_SCHEME.match(source))


def open_store(address: str) -> tuple[AbstractFileSystem, str]:
    """Opens the store of an address, without memory of earlier listings.

    Args:
      address: any that fsspec knows.

    Returns:
      The store, and the path in it.
    """
    from fsspec.core import url_to_fs

    store, path = url_to_fs(address, use_listings_cache=False)
    return store, path


def list_objects(address: str) -> Listing:
    """Lists the object at an address, or all objects below it where it is a folder.

    An address that is both is the object, unless it ends in a slash. Empty objects that stand for
    folders are left out.

    Args:
      address: s3:// or gs://.

    Raises:
      UserError: nothing is there, the store cannot be reached or refuses, or a key cannot be the
        path of a file.
    """
    shown = public_address(address)
    if shown != address:
        raise UserError(
            f"{shown} is refused: it was given with a user or a password, which a store's address "
            "cannot have. Leave them out, and set the credentials in the environment."
        )
    try:
        store, path = open_store(address)
        path = path.rstrip("/")
        name = PurePosixPath(path).name
        found = {} if address.endswith("/") else _object_at(store, path)
        is_file = bool(found)
        if not is_file:
            found = store.find(path, detail=True)
    except Exception as error:  # each store raises its own
        raise listing_error(shown, error) from error
    if name in ("", ".", ".."):
        raise UserError(f"{shown} names no object and no folder. Give s3://BUCKET/KEY.")
    objects: dict[str, StoredObject] = {}
    for key, info in sorted(found.items()):
        if info.get("type") == "directory" or (key.endswith("/") and not info.get("size")):
            continue
        if not is_file and not key.startswith(f"{path}/"):
            continue  # an object of the folder's own name
        relative = name if is_file else f"{name}/{key.removeprefix(f'{path}/')}"
        _require_path(key, relative.removeprefix(f"{name}/"), shown)
        objects[relative] = StoredObject(key, _version(info), int(info["size"]))
    if not objects:
        raise UserError(f"No such file or folder: {shown}. Check the address.")
    _require_apart(objects, shown)
    return Listing(store, objects, name, is_file)


def listing_error(shown: str, error: Exception) -> UserError:
    """Returns what to tell where a store does not say what it has.

    Args:
      shown: the address, as it may be shown.
      error: of the store or of a library below it.
    """
    if isinstance(error, FileNotFoundError):
        return UserError(f"No such file or folder: {shown}. Check the address.")
    return NotListedError(f"{shown} cannot be listed ({short_reason(error)}). {_CREDENTIALS}")


def short_reason(error: Exception) -> str:
    """Returns why an address could not be opened: one short line without secrets."""
    reason = getattr(error, "strerror", None)
    text = reason or f"{type(error).__name__}: {' '.join(str(error).split())}"
    return without_secrets(str(text))[:200].rstrip(".")


def _object_at(store: AbstractFileSystem, path: str) -> dict[str, dict[str, Any]]:
    info = store.info(path)
    return {path: info} if info["type"] == "file" else {}


def _version(info: dict[str, Any]) -> str:
    for name in _VERSIONS:
        if info.get(name):
            return f"{name} {info[name]}"
    times = [str(info[name]) for name in _TIMES if info.get(name)]
    return " ".join([f"size {info['size']}", *times[:1]])


def _require_path(key: str, relative: str, shown: str) -> None:
    """Refuses a key that leads elsewhere as a path, or is one to be spelled in two ways."""
    parts = relative.split("/")
    if relative.startswith("/") or ".." in parts:
        raise UserError(
            f"{shown} is refused: its key {key!r} leads outside of it. Remove or rename that "
            "object."
        )
    if "" in parts or "." in parts or "\0" in relative:
        raise UserError(
            f"{shown} is refused: its key {key!r} is not a name that a file can have. Remove or "
            "rename that object."
        )


def _require_apart(objects: dict[str, StoredObject], shown: str) -> None:
    for relative in objects:
        for folder in PurePosixPath(relative).parents:
            if both := objects.get(str(folder)):
                raise UserError(
                    f"{shown} is refused: its key {both.key!r} is a file and a folder, that of "
                    f"{objects[relative].key!r}. Remove or rename one of these objects."
                )
