"""Where the pictures of `predict` are: paths, folders, patterns, lists and remote addresses."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from inception_finetune.components.dataset import tree
from inception_finetune.components.dataset.tree import PICTURE_SUFFIXES
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.address import public_address
from inception_finetune.components.io.object_store import listing_error, open_store

STDIN: Final = "-"  # instead of a picture or a list: a list on standard input
_RECORDS: Final = (".tfrecord", ".gz")
_WEB: Final = ("http://", "https://")


class PictureFile(NamedTuple):
    """A file that holds a picture, or records of pictures."""

    name: str  # as it is shown: without what a URL holds in secret
    location: str  # what is opened: a path on this machine, or an address with ``://``

    @property
    def is_remote(self) -> bool:
        """Whether it is opened through fsspec."""
        return "://" in self.location

    @property
    def holds_records(self) -> bool:
        """Whether it is a TFRecord file, by its name."""
        return not self.is_remote and self.location.endswith(_RECORDS)

    @property
    def folder_name(self) -> str:
        """The name of the folder that it lies in, which may be a class."""
        if self.is_remote:
            return PurePosixPath(urlsplit(self.location).path).parent.name
        return Path(self.location).absolute().parent.name


def find_pictures(
    places: Iterable[str | Path], lists: Sequence[str | Path] = ()
) -> Iterator[PictureFile]:
    """Finds the files of pictures, place by place, in an order that repeats.

    Folders are walked while the result is read, so that only one of them is held in memory. System
    files in folders are ignored.

    Args:
      places: files, folders, patterns such as ``shots/*.jpg`` (``**`` is any folder), addresses
        that fsspec opens (``s3://``, ``gs://``, ``https://`` …), or ``-`` for a list on standard
        input.
      lists: text files of one address a line, ``-`` for standard input. Relative addresses begin
        at the list's folder; those of standard input at the working directory.

    Returns:
      The files; those of lists may not exist.

    Raises:
      UserError: a place or list does not exist, or a folder or pattern leads to no picture; before
        the first file is returned.
    """
    found = [_listed(text) if text == STDIN else _in_place(text) for text in map(str, places)]
    found += [_listed(str(text)) for text in lists]
    return chain.from_iterable(found)


def _in_place(place: str) -> Iterator[PictureFile]:
    if "://" in place:
        return _in_store(place)
    path = Path(place)
    if path.is_dir():
        return _require_some(_in_folder(path), f"folder {place}")
    if path.exists():
        return iter([PictureFile(place, place)])
    if not glob.has_magic(place):
        raise UserError(f"No such file or folder: {place}. Check the path.")
    return _require_some(_matching(place), f"{place}, which is taken for a pattern")


def _matching(pattern: str) -> Iterator[PictureFile]:
    matches = glob.iglob(pattern, recursive=True)  # noqa: PTH207 - absolute ones too
    for match in sorted(matches):
        path = Path(match)
        # Of "**" each folder is a match of its own, and so is what lies in it.
        if not path.is_dir():
            yield PictureFile(match, match)
        elif "**" not in pattern:
            yield from _in_folder(path)


def _in_folder(folder: Path) -> Iterator[PictureFile]:
    for path in tree.files(folder):
        if path.suffix.lower() in PICTURE_SUFFIXES:
            yield PictureFile(str(path), str(path))


def _require_some(files: Iterator[PictureFile], where: str) -> Iterator[PictureFile]:
    first = next(files, None)
    if first is None:
        raise UserError(
            f"No pictures ({', '.join(PICTURE_SUFFIXES)}) in {where}. Give another, or name the "
            "files."
        )
    return chain([first], files)


def _in_store(place: str) -> Iterator[PictureFile]:
    """Looks into folders and patterns of an object store; of the web, each address is a file."""
    name = public_address(place)
    if place.lower().startswith(_WEB) or (
        place.lower().endswith(PICTURE_SUFFIXES) and not glob.has_magic(place)
    ):
        return iter([PictureFile(name, place)])
    try:
        store, path = open_store(place)
        if glob.has_magic(path):
            matches = store.glob(path, detail=True)
            paths = sorted(one for one in matches if matches[one]["type"] != "directory")
        elif store.isdir(path):
            paths = sorted(filter(_is_picture, store.find(path)))
        elif store.exists(path):
            paths = [path]
        else:
            raise UserError(f"No such file or folder: {name}. Check the address.")
    except UserError:
        raise
    except Exception as error:  # each store raises its own
        raise listing_error(name, error) from error
    files = (_of_store(store, found) for found in paths)
    return _require_some(files, name)


def _of_store(store: Any, path: str) -> PictureFile:
    address = store.unstrip_protocol(path)
    return PictureFile(public_address(address), address)


def _is_picture(path: str) -> bool:
    return path.lower().endswith(PICTURE_SUFFIXES)


def _listed(text: str) -> Iterator[PictureFile]:
    """The addresses of a list, which is opened at once and read on the way."""
    if text == STDIN:
        return _addresses(sys.stdin.buffer, "")
    path = Path(text)
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"List {text} cannot be read: {error.strerror}. Check the path.") from error
    return _addresses(file, str(path.parent))


def _addresses(lines: Iterable[bytes], folder: str) -> Iterator[PictureFile]:
    for number, line in enumerate(lines):
        # A spreadsheet's list begins with a byte order mark; names may be any bytes but NUL.
        raw = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
        address = os.fsdecode(raw.rstrip(b"\r\n"))
        if not address.strip():
            continue
        remote = "://" in address
        yield PictureFile(
            public_address(address), address if remote else str(Path(folder, address))
        )
