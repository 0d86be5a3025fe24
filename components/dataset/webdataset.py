"""Reads WebDataset's tars: files of one example share their name up to the first dot.

``000000.jpg`` and ``000000.cls`` (a number or a name), ``.json`` (with a key such as ``label``) or
``.txt`` (a name). The tars are read in a stream, one example in memory at a time.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from inception_finetune.components.dataset.bad_examples import Skipped
from inception_finetune.components.dataset.label_file import LabelNames, read_label_names
from inception_finetune.components.dataset.probe import LARGEST_FILE
from inception_finetune.components.dataset.table import LABEL_COLUMNS, folded
from inception_finetune.components.dataset.tree import PICTURE_SUFFIXES
from inception_finetune.components.dataset.unpacked import LABEL_SUFFIXES, key_of, limit_of
from inception_finetune.components.io.tar import tar_files

if TYPE_CHECKING:
    from inception_finetune.components.dataset.contained import Reader
    from inception_finetune.components.dataset.layout import Layout

_NAMES_FILES: Final = ("labels.txt", "classes.txt", "classnames.txt", "class_names.txt")
_LARGEST_LABEL: Final = 1 << 20  # bytes of a file that says the class


def read_webdataset(layout: Layout, skipped: Skipped) -> Reader:
    """Opens the tars of a layout.

    Args:
      layout: where they lie.
      skipped: receives the bad examples.

    Returns:
      The pictures, with ids of tar and key, and the classes where a file beside the tars has them.

    Raises:
      UserError: a tar is damaged or hostile, or the file of classes is none.
    """
    from inception_finetune.components.dataset.contained import ContainedPicture, Reader

    folder = layout.path if layout.path.is_dir() else layout.path.parent
    file = next((folder / name for name in _NAMES_FILES if (folder / name).is_file()), None)
    names = read_label_names(file) if file and layout.path.is_dir() else None

    def pictures() -> Iterator[ContainedPicture]:
        for split, path in layout.parts:
            for key, files in _examples(path):
                identity = f"{path.relative_to(folder)}:{key}"
                encoded = [data for suffix, data in files.items() if suffix in PICTURE_SUFFIXES]
                name = _label_name(files, names)
                if len(encoded) != 1:
                    reason = f"it has {len(encoded)} pictures, not one"
                    skipped.reject(identity, reason, str(path))
                elif not name:
                    skipped.reject(identity, _no_label(files, names), str(path))
                else:
                    yield ContainedPicture(identity, split, name, encoded[0])

    return Reader(names.names if names else (), pictures())


def _examples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Iterates over keys and files by suffix; those of an example stand one behind the other."""
    key, files = "", dict[str, bytes]()
    with tar_files(path, limit_of(path)) as members:
        for name, file in members:
            if name.name.startswith(".") or "__MACOSX" in name.parts:
                continue
            if key_of(name) != key:
                if files:
                    yield key, files
                key, files = key_of(name), {}
            suffix = name.name[len(name.name.split(".")[0]) :].lower()  # of a mask: .seg.png
            if suffix in PICTURE_SUFFIXES:
                files[suffix] = _read(file, LARGEST_FILE)
            elif suffix in LABEL_SUFFIXES:
                files[suffix] = _read(file, _LARGEST_LABEL)
    if files:
        yield key, files


def _read(file: IO[bytes], size: int) -> bytes:
    return file.read(size + 1)


def _label_name(files: dict[str, bytes], names: LabelNames | None) -> str | None:
    value: Any = None
    for suffix in LABEL_SUFFIXES:
        if suffix in files and len(files[suffix]) <= _LARGEST_LABEL:
            value = _in_json(files[suffix]) if suffix == ".json" else _text(files[suffix])
            if value is not None:
                break
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = unicodedata.normalize("NFC", str(value).strip())
    if names is None:
        return text
    return names.name_of(text)


def _text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8-sig").strip() or None
    except UnicodeDecodeError:
        return None


def _in_json(data: bytes) -> Any:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return content
    by_name = {folded(key): value for key, value in content.items()}
    known = ("cls", *LABEL_COLUMNS)
    return next((by_name[name] for name in known if by_name.get(name) is not None), None)


def _no_label(files: dict[str, bytes], names: LabelNames | None) -> str:
    if not any(suffix in files for suffix in LABEL_SUFFIXES):
        return f"it has no {', '.join(LABEL_SUFFIXES[:-1])} or {LABEL_SUFFIXES[-1]} with its class"
    known = f"one of {len(names.names)} classes" if names else "a class"
    return f"what stands beside it is not {known}"
