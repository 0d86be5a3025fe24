"""Recognises the layout of a source on disk, and says what was recognised and guessed.

This is the only place that decides what a source is. Each kind of layout is an entry of `_forms`:
how a source looks that is one, what finds its parts, and what must be there. `dataset.layout`
names one of them, or leaves it to `layout_of` to take the first that a source looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from inception_finetune.components.dataset import (
    class_folders,
    found_lists,
    shard_files,
    unpacked,
)
from inception_finetune.components.dataset.archive import META
from inception_finetune.components.dataset.column_names import FOUND, ColumnNames
from inception_finetune.components.dataset.list_text import LIST_SUFFIXES
from inception_finetune.components.dataset.parts import Parts
from inception_finetune.components.dataset.settings import Kind, Wanted
from inception_finetune.components.dataset.split_names import join_names, split_of
from inception_finetune.components.dataset.tree import (
    PICTURE_SUFFIXES,
    entries,
    files,
    folders,
    looks_like_picture,
)
from inception_finetune.components.errors import UserError

# Of these, the pictures lie inside of files, and are copied out of them before they are converted.
CONTAINED: Final[tuple[Kind, ...]] = ("tfds", "webdataset", "parquet", "arrow")
TABLES: Final[tuple[Kind, ...]] = ("list", "parquet", "arrow")  # these have columns with names


@dataclass(frozen=True)
class Layout:
    """The kind of a source, and where its parts lie.

    `parts` are (split, path): split folders, lists or files of examples, or the source itself with
    a split of "" where it leaves the splits open or names them inside.
    """

    kind: Kind
    path: Path
    parts: tuple[tuple[str, Path], ...]
    notes: tuple[str, ...] = ()  # what was guessed or is not looked at, in words
    form: str = ""  # what was recognised, in words
    unpacked_from: Path | None = None  # the archive that `path` was unpacked from
    source: Path | None = None  # what was given, where `path` lies in it
    chosen: bool = False  # by dataset.layout
    columns: ColumnNames = FOUND  # that are named, of a table

    @property
    def shown(self) -> Path:
        """What messages call it: the archive, and not the folder that it was unpacked to."""
        return self.unpacked_from or self.path

    @property
    def splits(self) -> frozenset[str]:
        """The splits of the parts; "" is one that is left open."""
        return frozenset(split for split, _ in self.parts)

    @property
    def is_contained(self) -> bool:
        """Whether the pictures are copied out of files before they are converted."""
        return self.kind in CONTAINED or (
            self.kind == "records" and shard_files.needs_copy(self.path, self.parts)
        )

    @property
    def line(self) -> str:
        """What a command prints of the source: ``Layout of X: class folders, 3 classes``."""
        of = self.source or self.path
        inside = f" in {self.path}" if self.path != of and self.unpacked_from is None else ""
        settings = [*([f"dataset.layout={self.kind}"] if self.chosen else []), *self.columns.given]
        chosen = f" ({', '.join(settings)})" if settings else ""
        return f"Layout of {of}: {self.form}{inside}{chosen}"


class _Form(NamedTuple):
    looks_like: Callable[[Path], bool]  # of a folder or file
    may_be: Callable[[Path], bool]  # the same where dataset.layout says that it is one
    find: Callable[[Path], Parts]
    needs: str  # what a source of this kind has


def _is_cifar(source: Path) -> bool:
    if source.is_dir():
        return any(True for pattern in (META, f"*/{META}") for _ in source.glob(pattern))
    return unpacked.is_archive(source) and unpacked.content_of(source) == "cifar"


def _cifar(source: Path) -> Parts:
    return Parts("CIFAR-10's batches", source, (("", source),))


def _forms(columns: ColumnNames) -> dict[Kind, _Form]:
    """Returns all kinds in this order: what is first here and looks like the source is taken."""
    return {
        "cifar": _Form(_is_cifar, _is_cifar, _cifar, f"{META}, data_batch_1 and test_batch"),
        "tfds": _Form(
            shard_files.is_tfds,
            shard_files.is_tfds,
            shard_files.tfds,
            "dataset_info.json, features.json and TFRecord files",
        ),
        "arrow": _Form(
            shard_files.is_arrow,
            shard_files.is_arrow,
            partial(shard_files.arrow, columns=columns),
            "state.json, dataset_dict.json or *.arrow files",
        ),
        "records": _Form(
            shard_files.is_records,
            shard_files.is_records,
            shard_files.records,
            "TFRecord files of train and test, labels.txt",
        ),
        "parquet": _Form(
            shard_files.is_parquet,
            shard_files.is_parquet,
            partial(shard_files.parquet, columns=columns),
            "*.parquet files",
        ),
        "webdataset": _Form(
            shard_files.is_webdataset,
            shard_files.is_webdataset,
            shard_files.webdataset,
            "tar files that hold a picture and a .cls, .json or .txt of the same name",
        ),
        "list": _Form(
            partial(found_lists.is_list, columns=columns),
            found_lists.has_lists,
            partial(found_lists.find_lists, columns=columns),
            f"a list ({', '.join(LIST_SUFFIXES)}) with columns of pictures that exist and of "
            "classes",
        ),
        "pictures": _Form(Path.is_dir, Path.is_dir, class_folders.find_folders, "class folders"),
    }


def require_known_suffix(source: str) -> None:
    """Refuses, before it is fetched, a source whose name shows that it cannot be read.

    Raises:
      UserError: it is a spreadsheet, a .rar, a single picture or another file that is not read.
    """
    suffix = Path(source).suffix.lower()
    if suffix in (".xls", ".xlsx", ".json", ".ods"):
        raise UserError(
            f"{source} is not a list that can be read: that is text ({', '.join(LIST_SUFFIXES)}) "
            "of pictures and their classes, one a line. Save it so."
        )
    if suffix in (".rar", ".7z"):
        raise UserError(
            f"{source} is not an archive that can be read: that is a zip, tar or tar.gz. Unpack "
            "it, and give the folder."
        )
    if suffix in (".tfrecord", ".tfrecords", *PICTURE_SUFFIXES):
        raise UserError(
            f"{source} is a single file, and a data set is a folder, an archive or a list. "
            "Give the folder that it lies in."
        )


def layout_of(
    source: Path,
    wanted: Wanted = "auto",
    cache: Path | None = None,
    columns: ColumnNames = FOUND,
) -> Layout:
    """Recognises the layout of a folder or file; an archive of files is unpacked for that.

    Args:
      source: the folder or file.
      wanted: the layout to take it for.
      cache: where archives are unpacked, once for each version; None is a temporary place.
      columns: of a table, that are named; other layouts have none, and the result says so.

    Raises:
      UserError: `source` looks like no layout, or like two, or is not the one that is wanted.
    """
    if not source.is_dir():
        require_known_suffix(source.name)
        if unpacked.is_archive(source) and unpacked.content_of(source) == "files":
            folder = unpacked.unpack(source, cache)
            try:
                inside = layout_of(folder, wanted, columns=columns)
            except UserError as error:
                raise UserError(str(error).replace(str(folder), str(source))) from None
            return replace(
                inside,
                form=f"{inside.form}, in the archive",
                notes=tuple(note.replace(f"{folder}/", "") for note in inside.notes),
                unpacked_from=source,
                source=source,
            )
    found = _wanted(source, wanted, columns) if wanted != "auto" else _recognised(source, columns)
    if found.kind in TABLES:
        found = replace(found, columns=columns)
    return found if found.source else replace(found, source=source)


def require_columns_used(found: Layout, columns: ColumnNames) -> None:
    """Checks that columns are named of a layout that has some.

    Args:
      found: what `layout_of` returned.
      columns: that it was given.

    Raises:
      UserError: columns are named, and it is no table.
    """
    if not columns.given or found.columns == columns:
        return
    unused = found_lists.unused_lists(found.path, columns) if found.kind == "pictures" else []
    lists = f" Not used there: {join_names(unused)}." if unused else ""
    raise UserError(
        f"{' and '.join(columns.given)} cannot be applied to {found.source}, which is read as "
        f"{found.form}: columns are those of lists, Parquet and Arrow.{lists} Unset it, or set "
        "dataset.layout."
    )


def _recognised(source: Path, columns: ColumnNames) -> Layout:
    for kind, form in _forms(columns).items():
        if kind == "pictures" and (inner := _only_folder(source)) and _is_layout(inner, columns):
            return _inside(inner, _recognised(inner, columns))
        if form.looks_like(source):
            unused = found_lists.unused_lists(source, columns) if kind == "pictures" else []
            if unused and len(_filled(source)) < 2:
                raise UserError(
                    f"{source} holds fewer than two class folders, and no list that can be used: "
                    f"{join_names(unused)}. Call the columns of a list filename and label, or "
                    "name them by dataset.image_column and dataset.label_column."
                )
            try:
                return _layout(kind, form.find(source))
            except UserError as error:
                if not unused:
                    raise
                raise UserError(f"{error} Not used there: {join_names(unused)}.") from None
    raise UserError(
        f"{source} is not a data set that can be read: it is neither an archive (zip, tar, "
        "tar.gz), a list nor a file of Parquet or Arrow. See docs/data.md for what is read."
    )


def _wanted(source: Path, kind: Kind, columns: ColumnNames) -> Layout:
    form = _forms(columns)[kind]
    if not form.may_be(source):
        inner = _only_folder(source) if source.is_dir() else None
        if inner is None or not form.may_be(inner):
            held = join_names([path.name for path in entries(source)]) if source.is_dir() else ""
            holds = f"which holds {held}" if held else "which is a file of another kind"
            raise UserError(
                f"dataset.layout={kind} does not fit {source}, {holds}: it needs {form.needs}. "
                "Give another layout, or auto."
            )
        return _inside(inner, _wanted(inner, kind, columns))
    return replace(_layout(kind, form.find(source)), chosen=True)


def _layout(kind: Kind, parts: Parts) -> Layout:
    return Layout(kind, parts.path, parts.parts, parts.notes, parts.form)


def _inside(inner: Path, layout: Layout) -> Layout:
    return replace(layout, notes=(f"looked at {inner}", *layout.notes))


def _only_folder(source: Path) -> Path | None:
    """Returns the one folder around a data set, if `source` holds no other and no pictures."""
    tops = _filled(source)
    if len(tops) != 1 or split_of(tops[0].name) is not None:
        return None
    return None if any(looks_like_picture(path) for path in entries(source)) else tops[0]


def _filled(source: Path) -> list[Path]:
    """Returns the folders that hold files, however deep."""
    return [top for top in folders(source) if next(files(top), None) is not None]


def _is_layout(folder: Path, columns: ColumnNames) -> bool:
    return bool(folders(folder)) or any(
        form.looks_like(folder) for kind, form in _forms(columns).items() if kind != "pictures"
    )
