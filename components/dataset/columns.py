"""Reads Parquet and Arrow files with a column of pictures, as `datasets` writes them.

A picture is a struct of ``bytes`` and ``path``, or bytes alone; a class is a number, whose name
stands in the schema's metadata, or a text. A few rows are in memory at a time.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from inception_finetune.components.dataset.bad_examples import Skipped
from inception_finetune.components.dataset.column_names import (
    FOUND,
    ColumnNames,
    describe_columns,
    require_columns,
)
from inception_finetune.components.dataset.table import (
    LABEL_COLUMNS,
    PICTURE_COLUMNS,
    folded,
)
from inception_finetune.components.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from inception_finetune.components.dataset.contained import Reader
    from inception_finetune.components.dataset.layout import Layout

_ROWS: Final = 4  # of Parquet in memory; each may be as large as the largest picture
_BUFFER: Final = 1 << 20  # bytes of a column that are read at once
_MAGIC: Final = b"PAR1"  # a file of Parquet begins and ends so
_METADATA: Final = b"huggingface"  # key of the schema's metadata
_NO_LABEL: Final = -1  # what `datasets` writes for examples without a class


class _Columns(NamedTuple):
    picture: str
    label: str
    names: tuple[str, ...]  # of the classes by number; empty where the file names none


def read_columns(layout: Layout, skipped: Skipped) -> Reader:
    """Opens the Parquet or Arrow files of a layout.

    Args:
      layout: where they lie.
      skipped: receives the bad examples.

    Returns:
      The pictures, with ids of file and row, and the names of the classes.

    Raises:
      UserError: a file is damaged, or its columns of pictures and classes cannot be told.
    """
    from inception_finetune.components.dataset.contained import ContainedPicture, Reader

    paths = [path for _, path in layout.parts]
    columns = _columns(_schema(paths[0]), paths[0], layout.columns)
    root = layout.path if layout.path.is_dir() else layout.path.parent

    def pictures() -> Iterator[ContainedPicture]:
        for split, path in layout.parts:
            if (other := _columns(_schema(path), path, layout.columns)) != columns:
                raise UserError(
                    f"{path} has the columns {other.picture} and {other.label}, with "
                    f"{len(other.names)} named classes, and {paths[0]} has {columns.picture} and "
                    f"{columns.label}, with {len(columns.names)}. Write the files with one schema."
                )
            for number, picture, label in _rows(path, columns):
                identity = f"{path.relative_to(root)}:{number}"
                encoded, name = _bytes(picture), _label_name(label, columns.names)
                if encoded is None:
                    where = picture.get("path") if isinstance(picture, dict) else None
                    reason = f"it has no bytes, but the path {where!r}" if where else "it is empty"
                    skipped.reject(identity, reason, str(path))
                elif name is None:
                    classes = f"one of {len(columns.names)} classes" if columns.names else "a class"
                    skipped.reject(identity, f"label {label!r} is not {classes}", str(path))
                else:
                    yield ContainedPicture(identity, split, name, encoded)

    return Reader(columns.names, pictures())


def require_whole(path: Path) -> None:
    """Verifies that a file is neither damaged nor truncated: Parquet by its end, Arrow by reading.

    Raises:
      UserError: it is.
    """
    schema = _schema(path)
    if not _is_parquet(path):
        for _ in _batches(path, schema.names, _ROWS):
            pass


def describe(path: Path, named: ColumnNames) -> str:
    """Returns in words which columns of a file are used, and which are not.

    Args:
      path: of Parquet or Arrow.
      named: columns that are named; the others are found.

    Raises:
      UserError: it is damaged, or its columns of pictures and classes cannot be told.
    """
    schema = _schema(path)
    columns = _columns(schema, path, named)
    others = [one for one in schema.names if one not in (columns.picture, columns.label)]
    return describe_columns(columns.picture, repr(columns.label), others)


def are_unlabelled(paths: Sequence[Path], named: ColumnNames = FOUND) -> bool:
    """Returns whether no row of some files has a class, as in tests that others keep secret.

    Args:
      paths: of Parquet or Arrow.
      named: columns that are named; the others are found.

    Raises:
      UserError: a file is damaged.
    """
    for path in paths:
        columns = _columns(_schema(path), path, named)
        for batch in _batches(path, [columns.label], rows=1 << 12):
            if any(one not in (None, _NO_LABEL, "") for one in batch.column(0).to_pylist()):
                return False
    return True


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC or path.suffix.lower() == ".parquet"


def _schema(path: Path) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if _is_parquet(path):
            return pq.read_schema(path)
        with pa.memory_map(str(path)) as file:
            return _open_arrow(file).schema
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise _damaged(path, error) from error


def _open_arrow(file: pa.NativeFile) -> pa.RecordBatchReader:
    """Opens a stream, as `datasets` writes it, or a file of record batches."""
    import pyarrow as pa

    try:
        return pa.ipc.open_stream(file)
    except pa.ArrowInvalid:
        file.seek(0)
        opened = pa.ipc.open_file(file)
        batches = (opened.get_batch(number) for number in range(opened.num_record_batches))
        return pa.RecordBatchReader.from_batches(opened.schema, batches)


def _batches(path: Path, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if _is_parquet(path):
            with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
                yield from file.iter_batches(rows, columns=list(columns), use_threads=False)
            return
        with pa.memory_map(str(path)) as file:
            for batch in _open_arrow(file):
                selected = batch.select(list(columns))
                selected.validate(full=True)  # offsets of a hostile file point anywhere
                yield selected
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise _damaged(path, error) from error


def _rows(path: Path, columns: _Columns) -> Iterator[tuple[int, Any, Any]]:
    """Iterates over number, picture and label of each row, taken out of Arrow one at a time."""
    number = 0
    for batch in _batches(path, [columns.picture, columns.label], _ROWS):
        pictures, labels = batch.column(columns.picture), batch.column(columns.label)
        for picture, label in zip(pictures, labels, strict=True):
            yield number, picture.as_py(), label.as_py()
            number += 1


def _columns(schema: pa.Schema, path: Path, named: ColumnNames) -> _Columns:
    import pyarrow as pa

    require_columns(named, schema.names, path)
    described = _described(schema)
    types = {field.name: field.type for field in schema}
    if named.image is not None and not _holds_bytes(types[named.image]):
        raise UserError(
            f"Column {named.image!r} of {path} holds {types[named.image]}, not the bytes of "
            "pictures. Set dataset.image_column to one that does."
        )
    if named.label is not None and pa.types.is_nested(types[named.label]):
        raise UserError(
            f"Column {named.label!r} of {path} holds {types[named.label]}, not a class in each "
            "row. Set dataset.label_column to one that does."
        )
    by_name = {
        kind: [name for name in types if _kind(described.get(name)) == kind]
        for kind in ("Image", "ClassLabel")
    }
    pictures = by_name["Image"] or [name for name in types if _holds_bytes(types[name])]
    labels = by_name["ClassLabel"] or [
        name
        for name, kind in types.items()
        if folded(name) in LABEL_COLUMNS and not pa.types.is_nested(kind) and name not in pictures
    ]
    pictures = [one for one in pictures if one != named.label]
    labels = [one for one in labels if one != named.image]
    picture = named.image or _one(pictures, PICTURE_COLUMNS, path, types, "pictures", "image")
    label = named.label or _one(labels, LABEL_COLUMNS, path, types, "classes", "label")
    names = described.get(label, {}).get("names", ()) if label in by_name["ClassLabel"] else ()
    texts = tuple(unicodedata.normalize("NFC", one) for one in names if isinstance(one, str))
    if len(set(texts)) != len(names) or not all(one.isprintable() and one for one in texts):
        raise UserError(
            f"Classes of column {label} in {path} are not distinct printable names. Write the "
            "file again."
        )
    return _Columns(picture, label, texts)


def _one(
    found: Sequence[str],
    known: Sequence[str],
    path: Path,
    types: Sequence[str] | dict,
    what: str,
    name: str,
) -> str:
    """Returns the only column, or the one whose name is the most usual."""
    if len(found) == 1:
        return found[0]
    ordered = sorted((known.index(folded(one)), one) for one in found if folded(one) in known)
    if ordered and (len(ordered) == 1 or ordered[0][0] < ordered[1][0]):
        return ordered[0][1]
    several = f"may be {' or '.join(found)}" if found else "cannot be told"
    raise UserError(
        f"{path} has the columns {', '.join(list(types)[:20])}: which one holds the {what} "
        f"{several}. Set dataset.{name}_column, or call it {name}."
    )


def _described(schema: pa.Schema) -> dict[str, Any]:
    """Returns what `datasets` says of each column; empty where it does not."""
    try:
        content = json.loads((schema.metadata or {})[_METADATA])
        features = content["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _kind(described: object) -> object:
    return described.get("_type") if isinstance(described, dict) else None


def _holds_bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(kind.field(place).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _bytes(picture: Any) -> bytes | None:
    value = picture.get("bytes") if isinstance(picture, dict) else picture
    return value if isinstance(value, bytes) and value else None


def _label_name(label: Any, names: Sequence[str]) -> str | None:
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, bytes):
        label = label.decode(errors="backslashreplace")
    if isinstance(label, str):
        return unicodedata.normalize("NFC", label.strip()) or None
    if not isinstance(label, int) or label == _NO_LABEL:
        return None
    if not names:
        return str(label)
    return names[label] if 0 <= label < len(names) else None


def _damaged(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:160].rstrip(".")
    return UserError(f"{path} cannot be read: {reason}. Write it again.")
