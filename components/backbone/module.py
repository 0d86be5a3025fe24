"""Finds a module or a file of weights: on this machine, or by its URL with a pinned local copy."""

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from inception_finetune.components.backbone.foreign import require_bounded
from inception_finetune.components.backbone.hub_handle import (
    COMPRESSED,
    fetch_module,
    is_hub_handle,
)
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.address import public_address
from inception_finetune.components.io.download import download, is_remote
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.components.io.tar import extract_tar, is_tar, require_whole_tar

GRAPH_FILE: Final = "saved_model.pb"
ARCHIVE_SUFFIXES: Final = (".tar.gz", ".tgz")
LONGEST_NAME: Final = 100  # characters of a downloaded file's name that are kept
REMEDY: Final = (
    "where no pretrained module can be reached, `inception-finetune backbone make-standin DIR` "
    "writes one that is not pretrained"
)


def resolve(
    handle: str, cache_dir: Path, is_weights: Callable[[Path], bool] = lambda path: False
) -> Path:
    """Returns the directory of the module that a handle names, or a path of weights.

    Args:
        handle: a module's directory, a .tar.gz of one, its URL, a TF-Hub URL, or a path or URL of
            weights.
        cache_dir: keeps one pinned copy a handle and, beside it, a JSON file with the handle, the
            fingerprint and the date. Local files are used where they are, except for an archive.
            The copies of TF-Hub's handles are in ``TFHUB_CACHE_DIR`` if that is set.
        is_weights: whether a path is a source of weights, which is not a module yet.

    Returns:
        A directory with a `saved_model.pb`, or a path that `is_weights` accepts.

    Raises:
        UserError: there is nothing, a download failed, or a pinned copy was changed.
    """
    if is_remote(handle):
        return _pinned(handle, handle, cache_dir, is_weights)
    path = Path(handle.removeprefix("file://")).expanduser()
    if not (path / GRAPH_FILE).is_file() and is_weights(path):
        return path
    if path.is_dir():
        require_saved_model(path)
        return path
    if path.is_file() and path.name.endswith(ARCHIVE_SUFFIXES):
        require_bounded([path], path)
        return _pinned(str(path), f"sha256:{_sha256(path)}", cache_dir, is_weights)
    raise UserError(
        f"{public_address(handle)} is not a backbone: that is a directory with a {GRAPH_FILE}, a "
        ".tar.gz of one, a file of weights (docs/backbones.md), or an http(s) URL. Give one of "
        f"these; {REMEDY}."
    )


def require_saved_model(directory: Path) -> None:
    """Refuses a directory that is not a SavedModel.

    Raises:
        UserError: it has no `saved_model.pb`, or is in a form that the fingerprint does not cover.
    """
    if not (directory / GRAPH_FILE).is_file():
        raise UserError(
            f"{directory} is not a module: it has no {GRAPH_FILE}. Give another directory; "
            f"{REMEDY}."
        )
    if (directory / "saved_model.cpb").exists():
        raise UserError(
            f"{directory} has a saved_model.cpb beside its {GRAPH_FILE}, and a module must be "
            "in one file. Save it again without splitting it."
        )


def fingerprint(directory: Path) -> str:
    """Returns the sha256 of a module's content: `saved_model.pb`, `variables/` and `assets/`.

    It depends on names and bytes, not on dates, owners and other files (notes, pins).

    Args:
        directory: of the module.

    Raises:
        UserError: the files are too large for a module.
    """
    files = [directory / GRAPH_FILE]
    for folder in ("variables", "assets"):
        files += sorted(path for path in (directory / folder).rglob("*") if path.is_file())
    require_bounded(files, directory)
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(directory).as_posix()}\0{_sha256(path)}\n".encode())
    return total.hexdigest()


def _pinned(handle: str, key: str, cache_dir: Path, is_weights: Callable[[Path], bool]) -> Path:
    """Returns the copy of `handle`, checked against its pin; fetches it if need be."""
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    directory, pin = cache_dir / name, cache_dir / f"{name}.json"
    recorded = _read_pin(pin)
    if is_hub_handle(handle):
        directory = source = fetch_module(
            handle,
            cache_dir,
            download=partial(_download, directory=cache_dir / name),
            unpack=partial(_unpack, handle),
        )
        require_saved_model(directory)
    else:
        if recorded is None and directory.is_symlink():
            raise UserError(
                f"{directory} is a link, and {pin.name} beside it is missing, so that it cannot be "
                "checked and is not removed. Remove the link to fetch the module again."
            )
        if recorded is None and directory.exists():
            shutil.rmtree(directory)  # fetched by a process that died before it could pin it
        if not directory.exists():
            _fetch(handle, directory, is_weights)
        source = _fetched_content(directory)
    digest = fingerprint(directory) if source == directory else _sha256(source)
    if recorded is None:
        content = {
            "handle": public_address(handle),
            "fingerprint": digest,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        cache_dir.mkdir(parents=True, exist_ok=True)
        temporary = pin.with_suffix(".json.part")
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        temporary.rename(pin)
    elif digest != recorded:
        raise UserError(
            f"Copy of {public_address(handle)} in {directory} has sha256 {digest}, not {recorded}, "
            f"which was pinned. Delete that directory and {pin} to fetch and pin it again."
        )
    return source


def _fetched_content(directory: Path) -> Path:
    """Returns the module in a fetched directory, or the one file of weights in it."""
    entries = list(directory.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].name != GRAPH_FILE else directory


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_pin(pin: Path) -> str | None:
    if not pin.exists():
        return None
    try:
        return str(json.loads(pin.read_text())["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"Pin {pin} is not JSON with a fingerprint. Delete it to fetch the module again."
        ) from None


def _fetch(handle: str, directory: Path, is_weights: Callable[[Path], bool]) -> None:
    """Downloads and unpacks a module aside, then renames it into place. Weights stay packed."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    if Path(handle).is_file():
        _unpack(handle, Path(handle), directory)
        return
    file = _download(handle, directory)
    try:
        if is_weights(file):
            _put(file, directory)
        elif is_tar(file):
            _unpack(handle, file, directory)
        else:
            raise UserError(
                f"{public_address(handle)} leads neither to a module's .tar.gz nor to a file of "
                f"weights (docs/backbones.md). Give another address; {REMEDY}."
            )
    finally:
        file.unlink(missing_ok=True)


def _put(file: Path, directory: Path) -> None:
    """Moves a file into a directory of its own."""
    with scratch_folder(f".{directory.name}.", directory.parent) as scratch:
        place = scratch / "weights"
        place.mkdir()
        file.rename(place / file.name.removeprefix(f"{directory.name}-"))
        place.rename(directory)


def _unpack(handle: str, archive: Path, directory: Path) -> None:
    with scratch_folder(f".{directory.name}.", directory.parent) as scratch:
        unpacked = scratch / "module"
        extract_tar(archive, unpacked)
        root = _module_root(unpacked, handle)
        require_saved_model(root)
        root.rename(directory)


def _download(handle: str, directory: Path) -> Path:
    """Downloads the file behind an address to a name beside `directory`."""
    parts = urlsplit(handle)
    name = PurePosixPath(parts.path).name[-LONGEST_NAME:]
    is_archive = name.endswith(ARCHIVE_SUFFIXES) or COMPRESSED in parts.query
    target = directory.with_name(f"{directory.name}-{name}")
    target.unlink(missing_ok=True)  # left by a process that died while unpacking
    try:
        return download(handle, target, check=require_whole_tar if is_archive else None)
    except UserError as error:
        raise UserError(f"{str(error).rstrip('.')}; {REMEDY}.") from error


def _module_root(unpacked: Path, handle: str) -> Path:
    """Finds the module at the archive's top, or in its only directory."""
    if (unpacked / GRAPH_FILE).is_file():
        return unpacked
    entries = list(unpacked.iterdir())
    if len(entries) == 1 and (entries[0] / GRAPH_FILE).is_file():
        return entries[0]
    names = ", ".join(sorted(entry.name for entry in entries)[:5])
    raise UserError(
        f"Archive {public_address(handle)} has no {GRAPH_FILE} at its top or in its only "
        f"directory: it holds {names or 'nothing'}. Give another archive; {REMEDY}."
    )
