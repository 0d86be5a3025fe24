"""Copies of what object stores have: whole or not used, and only what has changed is fetched."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.address import public_address
from inception_finetune.components.io.checksums import Checksums
from inception_finetune.components.io.object_store import (
    Listing,
    NotListedError,
    StoredObject,
    list_objects,
    short_reason,
)
from inception_finetune.components.io.partial_file import PartialFile
from inception_finetune.components.io.remote_version import use_copy
from inception_finetune.components.io.tar import MAX_FILES
from inception_finetune.components.progress import BYTES, Advance, progress

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

BLOCK: Final = 16 << 20  # bytes of a large object that are asked for at a time
_TOGETHER: Final = 256  # small objects that are asked for at a time
_LISTINGS: Final = 4  # the first, and those that look whether it has changed meanwhile


def copy_from_store(
    source: str,
    folder: Path,
    *,
    sha256: str | None = None,
    check: Callable[[Path], None] | None = None,
) -> Path:
    """Returns a whole copy of an object, or of all objects below an address, as the store has it.

    What is in the copy in the store's version stays, what changed is copied again, and what is gone
    is removed. Until that is done the copy lies in ``<folder>.part``, and an interrupted one goes
    on from there. Where the store is not reached or refuses, a whole copy is used, which is said.

    Args:
      source: an address of s3:// or gs://.
      folder: receives the copy and nothing else; ``<folder>.objects.jsonl`` says which version of
        each object it is of.
      sha256: expected digest of a single object in hexadecimal; a copy that has it is not compared
        with the store.
      check: is called with the copy of a single object and raises UserError if it cannot be right.

    Returns:
      A path in `folder` that ends as the address does.

    Raises:
      UserError: nothing is there, the store cannot be reached or refuses, there are too many
        objects or too little space, a key cannot be a path, or the checksum is another.
    """
    shown, checksums = public_address(source), Checksums.of(sha256, None)
    copy = _StoreCopy(source, folder)
    whole = copy.whole()
    if sha256 and whole and whole.is_file() and not checksums.mismatch(whole):
        return whole
    try:
        listing = list_objects(source)
    except NotListedError as error:
        if whole is None or sha256:
            raise
        use_copy(shown, whole, str(error))
        return whole
    _require_bounds(listing, sha256, shown)
    try:
        name = copy.update(listing).name
        arrived = copy.place / name
        if mismatch := checksums.mismatch(arrived):
            copy.discard()
            raise UserError(
                f"Copy of {shown} has {mismatch}; nothing of it was kept. Correct the checksum, or "
                "ask the publisher for the right file."
            )
        if check and copy.place != folder and arrived.is_file():
            _check(arrived, check, copy)
        copy.complete()
    except OSError as error:
        raise UserError(
            f"Cannot write the copy of {shown} to {folder}: {error}. Free disk space or change "
            "the permissions."
        ) from error
    return folder / name


def _require_bounds(listing: Listing, sha256: str | None, shown: str) -> None:
    if sha256 and not listing.is_file:
        raise UserError(
            f"{shown} is a folder, and a checksum can only be given for a file. Remove the "
            "checksum."
        )
    if len(listing.objects) > MAX_FILES:
        raise UserError(
            f"{shown} is refused: it holds {len(listing.objects):,} objects, and at most "
            f"{MAX_FILES:,} are copied. Give a folder of it."
        )


def _check(arrived: Path, check: Callable[[Path], None], copy: _StoreCopy) -> None:
    try:
        check(arrived)
    except UserError as error:
        copy.discard()
        raise UserError(
            f"Copy of {copy.shown} is refused and nothing of it was kept: {error}"
        ) from error


class _StoreCopy:
    """The folder of a copy, which is called ``.part`` until it is whole, and its note."""

    def __init__(self, source: str, folder: Path) -> None:
        self.source = source
        self.shown = public_address(source)
        self.folder = folder
        self.part = folder.with_name(f"{folder.name}.part")
        self._note = folder.with_name(f"{folder.name}.objects.jsonl")
        self._arriving = folder.with_name(f"{folder.name}.object")  # a large one, to its ``.part``

    @property
    def place(self) -> Path:
        """Where the copy lies now."""
        return self.folder if self.folder.exists() else self.part

    def whole(self) -> Path | None:
        """Returns the path in a whole copy; None where there is no such copy."""
        held = list(self.folder.iterdir()) if self.folder.is_dir() else []
        return held[0] if len(held) == 1 else None

    def update(self, listing: Listing) -> Listing:
        """Copies what is missing until the store has nothing else, and returns what it has."""
        copied: set[str] = set()
        removed: set[str] = set()
        for _ in range(_LISTINGS):
            kept = self._kept(listing.objects)
            files = set(self._files())
            missing = {path: one for path, one in listing.objects.items() if path not in kept}
            if not missing and files == set(kept):
                if copied or removed:
                    self._say_changes(len(copied), len(removed), len(set(kept) - copied))
                return listing
            self._begin(kept, files)
            removed |= files - set(listing.objects)
            copied |= set(missing)
            self._require_space(missing)
            with progress(f"Copying {self.shown}", _size(missing), BYTES) as advance:
                for batch in _batches(missing):
                    self._copy(listing.store, batch, advance)
            listing = list_objects(self.source)  # it may have changed meanwhile
        raise UserError(
            f"Cannot copy {self.shown}: its objects change while they are copied. Run the command "
            "again when nothing writes there."
        )

    def complete(self) -> None:
        """Gives the copy its name."""
        if not self.folder.exists():
            PartialFile(self._arriving, "").discard()
            self.part.replace(self.folder)

    def discard(self) -> None:
        """Removes the copy."""
        self._note.unlink(missing_ok=True)
        shutil.rmtree(self.place, ignore_errors=True)

    def _files(self) -> Iterator[str]:
        for path in self.place.rglob("*"):
            if not path.is_dir():
                yield path.relative_to(self.place).as_posix()

    def _kept(self, objects: dict[str, StoredObject]) -> dict[str, str]:
        """Returns the objects that are here in the store's version, each with that version."""
        noted: dict[str, str] = {}
        try:
            for line in self._note.read_text().splitlines():
                entry = json.loads(line)
                noted[entry["path"]] = entry["version"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass  # a line that a kill has cut, or none yet: what is not noted is copied again
        kept = {}
        for path, version in noted.items():
            one, copy = objects.get(path), self.place / path
            if one is None or one.version != version or not copy.is_file():
                continue
            if copy.stat().st_size == one.size:
                kept[path] = version
        return kept

    def _begin(self, kept: dict[str, str], files: set[str]) -> None:
        """Leaves in ``.part`` and in the note what is kept. From here on it is not whole."""
        if self.folder.exists():
            shutil.rmtree(self.part, ignore_errors=True)
            self.folder.rename(self.part)
        self.part.mkdir(parents=True, exist_ok=True)
        temporary = self._note.with_name(f"{self._note.name}.part")
        temporary.write_text("".join(_line(*entry) for entry in kept.items()))
        temporary.replace(self._note)
        for path in files - set(kept):
            (self.part / path).unlink()
        for folder in sorted((one for one in self.part.rglob("*") if one.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()

    def _require_space(self, missing: dict[str, StoredObject]) -> None:
        needed, free = _size(missing), shutil.disk_usage(self.part).free
        if needed > free:
            raise UserError(
                f"{self.shown} needs {needed / 1e9:.1f} GB in {self.part.parent}, which has "
                f"{free / 1e9:.1f} GB free. Free space, or give another cache=DIRECTORY."
            )

    def _copy(
        self, store: AbstractFileSystem, batch: dict[str, StoredObject], advance: Advance
    ) -> None:
        """Copies objects; those that have another size by now, or are gone, are left out."""
        sizes = [one.size for one in batch.values()]
        if sizes[0] > BLOCK:
            self._copy_large(store, *next(iter(batch.items())), advance)
            return
        with self._telling():
            contents = store.cat_ranges(
                [one.key for one in batch.values() if one.size],
                [0 for size in sizes if size],
                [size for size in sizes if size],
                on_error="return",
            )
        arrived = iter(contents)
        for path, one in batch.items():
            content = next(arrived) if one.size else b""
            if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                raise self._not_copied(content) from content
            if isinstance(content, bytes) and len(content) == one.size:
                temporary = self._arriving.with_name(f"{self._arriving.name}.small")
                temporary.write_bytes(content)
                self._place(temporary, path, one)
                advance(one.size)

    def _copy_large(
        self, store: AbstractFileSystem, path: str, one: StoredObject, advance: Advance
    ) -> None:
        part = PartialFile(self._arriving, one.key)
        if part.validator() != one.version or part.size() > one.size:
            part.start(one.version)
        offset = part.size()
        advance(offset)
        with part.path.open("ab") as file:
            while offset < one.size:
                end = min(offset + BLOCK, one.size)
                with self._telling():
                    block = store.cat_file(one.key, start=offset, end=end)
                if len(block) != end - offset:
                    return  # it changed: the next listing tells
                file.write(block)
                file.flush()
                offset = end
                advance(len(block))
        part.complete()
        self._place(part.target, path, one)

    def _place(self, arrived: Path, path: str, one: StoredObject) -> None:
        target = self.part / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # this file system takes two names for one
            raise UserError(
                f"{self.shown} is refused: its key {one.key!r} and another become one file, "
                f"{target}. Rename one of these objects."
            )
        arrived.replace(target)
        with self._note.open("a") as note:
            note.write(_line(path, one.version))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each store raises its own
            raise self._not_copied(error) from error

    def _not_copied(self, error: Exception) -> UserError:
        return UserError(
            f"Cannot copy {self.shown}: {short_reason(error)}. What has arrived is kept: run the "
            "command again to continue from there."
        )

    def _say_changes(self, copied: int, removed: int, kept: int) -> None:
        line = f"{self.shown}: {copied:,} objects copied, {removed:,} removed, {kept:,} kept"
        print(line, file=sys.stderr, flush=True)


def _line(path: str, version: str) -> str:
    return json.dumps({"path": path, "version": version}) + "\n"


def _size(objects: dict[str, StoredObject]) -> int:
    return sum(one.size for one in objects.values())


def _batches(missing: dict[str, StoredObject]) -> Iterator[dict[str, StoredObject]]:
    """Divides objects into those that are asked for at a time; a large one is alone."""
    batch: dict[str, StoredObject] = {}
    for path, one in missing.items():
        if batch and (len(batch) == _TOGETHER or _size(batch) + one.size > BLOCK):
            yield batch
            batch = {}
        batch[path] = one
    if batch:
        yield batch
