"""Files that hold many examples each: TFRecords, TFDS' folders, Parquet, Arrow, WebDataset.

Which split a file is of stands in its name, as the usual converters write it, or in that of its
folder. Where no file is for test, those of train are left open, so that test is held out of them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from inception_finetune.components.dataset import unpacked
from inception_finetune.components.dataset.column_names import FOUND, ColumnNames
from inception_finetune.components.dataset.parts import Parts
from inception_finetune.components.dataset.split_names import (
    join_names,
    not_looked_at,
    open_without_test,
    order_of_part,
    spelling_notes,
    split_in_stem,
    split_of,
)
from inception_finetune.components.dataset.tfrecord import COMPRESSED
from inception_finetune.components.dataset.tree import PICTURE_SUFFIXES, entries, files, folders
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import LABELS_FILE, SPLITS, TEST, TRAIN

FEATURES_FILE: Final = "features.json"  # beside dataset_info.json, in what TFDS writes
STATE_FILE: Final = "state.json"  # names the Arrow files of a split, in what save_to_disk writes
_INFO_FILE: Final = "dataset_info.json"
_SPLITS_FILE: Final = "dataset_dict.json"
# What TFDS, TF-Slim and the object detection API call files of records.
_RECORDS: Final = re.compile(
    r"(?P<stem>.+?)(\.tfrecords?|\.records?)?(-\d+-of-\d+)?(\.tfrecords?|\.records?)?(?P<gz>\.gz)?",
    re.IGNORECASE,
)
_TARS: Final = (".tar", ".tgz", ".tar.gz")
_PEEKED: Final = 50  # files by which a folder is judged
_LARGEST_JSON: Final = 1 << 24  # bytes of a file that describes a data set


def read_json(path: Path) -> Any:
    """Reads a small file that describes a data set.

    Raises:
      UserError: it is missing, no JSON or too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_JSON + 1)
        if len(content) > _LARGEST_JSON:
            raise ValueError(f"it has more than {_LARGEST_JSON:,} bytes")
        return json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise UserError(f"{path} cannot be read: {reason}. Write the data set again.") from None


def is_records(source: Path) -> bool:
    """Returns whether a folder holds TFRecords by their names, or their labels alone."""
    if not source.is_dir():
        return False
    if any(_is_of_records(path) for path in entries(source)):
        return True
    return not folders(source) and (source / LABELS_FILE).is_file() and not is_webdataset(source)


def records(source: Path) -> Parts:
    """Finds the files of records, of which train and test must be there.

    Raises:
      UserError: they are not, or a name may mean two splits.
    """
    spellings: Counter[str] = Counter()
    parts: list[tuple[str, Path]] = []
    other = [top.name for top in folders(source) if next(files(top), None) is not None]
    for path in filter(_is_of_records, entries(source)):
        match = _RECORDS.fullmatch(path.name)
        named = split_in_stem(match["stem"] if match else path.name, path, "Records")
        if named is None:
            other.append(path.name)
            continue
        spellings[named[1]] += 1
        parts.append((named[0], path))
    for split in (TRAIN, TEST):
        if split not in dict(parts):
            raise UserError(
                f"{source} has no records of {split}, but "
                f"{join_names([path.name for path in entries(source)])}: records lie in files "
                "named train-*.tfrecord and test-*.tfrecord. Rename the files, or add them."
            )
    parts.sort(key=order_of_part)
    notes = (*spelling_notes(spellings), *not_looked_at(other, "train and test records"))
    return Parts(_form("TFRecords", parts), source, tuple(parts), notes)


def needs_copy(source: Path, parts: Sequence[tuple[str, Path]]) -> bool:
    """Returns whether pictures of records cannot be read where they lie, by place and length."""
    return (
        any(path.name.endswith(COMPRESSED) for _, path in parts)
        or not (source / LABELS_FILE).is_file()
    )


def is_tfds(source: Path) -> bool:
    """Returns whether TFDS has written a folder."""
    return all((source / name).is_file() for name in (FEATURES_FILE, _INFO_FILE))


def tfds(source: Path) -> Parts:
    """Finds the record files of TFDS' splits.

    Raises:
      UserError: files are missing, or of another format than TFRecord.
    """
    info = read_json(source / _INFO_FILE)
    info = info if isinstance(info, dict) else {}
    if (form := str(info.get("fileFormat", "tfrecord"))).lower() != "tfrecord":
        raise UserError(
            f"{source} holds files of the format {form}, and TFRecords are read. Prepare the data "
            "set with file_format=tfrecord, or where tensorflow-datasets is installed run: tfds "
            f"convert_format --dataset_dir={shlex.quote(str(source))} --out_file_format=tfrecord "
            "--out_dir=NEW"
        )
    paths = [path for path in entries(source) if ".tfrecord" in path.name]
    if not paths:
        raise UserError(
            f"{source} is a folder of TFDS without TFRecord files. Prepare the data set again."
        )
    # The data set's own name may hold the name of a split, such as in "my_test".
    name = str(info.get("name", ""))
    stems = [path.name.partition(".tfrecord")[0].removeprefix(f"{name}-") for path in paths]
    return _shards(source, list(zip(stems, paths, strict=True)), "records", "TFDS records")


def is_parquet(source: Path) -> bool:
    """Returns whether a file is Parquet, or a folder holds such files at most two folders deep."""
    return (
        bool(_with_suffix(source, (".parquet",)))
        if source.is_dir()
        else _is_named(source, ".parquet")
    )


def parquet(source: Path, columns: ColumnNames = FOUND) -> Parts:
    """Finds the Parquet files of all splits.

    Args:
      source: the folder or file.
      columns: that are named; the others are found.

    Raises:
      UserError: there are several data sets, a name may mean two splits, or it cannot be told which
        columns hold pictures and classes.
    """
    return _with_columns(_files(source, (".parquet",), "Parquet", columns), columns)


def is_arrow(source: Path) -> bool:
    """Returns whether `datasets` has saved a folder, or a file or folder is of Arrow."""
    if not source.is_dir():
        return _is_named(source, ".arrow")
    named = any((source / name).is_file() for name in (STATE_FILE, _SPLITS_FILE))
    return named or bool(_with_suffix(source, (".arrow",)))


def arrow(source: Path, columns: ColumnNames = FOUND) -> Parts:
    """Finds the Arrow files of all splits.

    Args:
      source: the folder or file.
      columns: that are named; the others are found.

    Raises:
      UserError: files are missing, a data set was saved with an index that reorders it, or it
        cannot be told which columns hold pictures and classes.
    """
    return _with_columns(_arrow(source, columns), columns)


def _arrow(source: Path, columns: ColumnNames) -> Parts:
    if (source / STATE_FILE).is_file():
        paths = _state_files(source)
        return Parts(_form("Arrow", [("", one) for one in paths]), source, _open(paths))
    if not (source / _SPLITS_FILE).is_file():
        return _files(source, (".arrow",), "Arrow", columns)
    content = read_json(source / _SPLITS_FILE)
    names = content.get("splits") if isinstance(content, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"{source / _SPLITS_FILE} names no splits. Save the data set again with save_to_disk."
        )
    named = [(name, path) for name in names for path in _state_files(source / Path(name).name)]
    return _shards(source, named, "Arrow files", "Arrow", columns)


def _with_columns(parts: Parts, columns: ColumnNames) -> Parts:
    """Adds to what was recognised which columns are used."""
    from inception_finetune.components.dataset.columns import describe

    return parts._replace(form=f"{parts.form} ({describe(parts.parts[0][1], columns)})")


def is_webdataset(source: Path) -> bool:
    """Returns whether a tar holds pictures with their classes beside them, or a folder does."""
    tars = _with_suffix(source, _TARS) if source.is_dir() else [source]
    return (
        bool(tars)
        and unpacked.is_archive(tars[0])
        and (unpacked.content_of(tars[0]) == "webdataset")
    )


def webdataset(source: Path) -> Parts:
    """Finds the shards of all splits.

    Raises:
      UserError: there are several data sets, or a name may mean two splits.
    """
    return _files(source, _TARS, "WebDataset")


def _files(
    source: Path, suffixes: tuple[str, ...], kind: str, columns: ColumnNames = FOUND
) -> Parts:
    if not source.is_dir():
        return Parts(f"{kind}, 1 file", source, (("", source),))
    paths = _with_suffix(source, suffixes)
    places = {path.parent for path in paths if split_of(path.parent.name) is None}
    if len(places - {source}) > 1 or (source in places and len(places) > 1):
        names = sorted(str(place.relative_to(source)) for place in places)
        raise UserError(
            f"{source} has {kind} files in several folders ({join_names(names)}), which may be "
            "data sets of their own. Give one of them as dataset.archive."
        )
    named_files = [(_stem(path, source), path) for path in paths]
    return _shards(source, named_files, f"{kind} files", kind, columns)


def _shards(
    source: Path,
    named: Sequence[tuple[str, Path]],
    kind: str,
    form: str,
    columns: ColumnNames = FOUND,
) -> Parts:
    """Sorts files into splits by their stems; those without one count where none has one."""
    found = [(split_in_stem(stem, path, form), path) for stem, path in named]
    tests = [path for split, path in found if split and split[0] == TEST]
    others = [path for split, path in found if split is None]
    secret: tuple[str, ...] = ()
    if form in ("Parquet", "Arrow") and tests and len(tests) < len(found) - len(others):
        from inception_finetune.components.dataset.columns import are_unlabelled

        if are_unlabelled(tests, columns):
            found = [one for one in found if one[1] not in tests]
            names = join_names([path.name for path in tests])
            secret = (f"not used, without classes: {names}",)
    if not any(split for split, _ in found):
        parts = tuple(("", path) for _, path in found)
        return Parts(_form(form, parts), source, parts)
    spellings = Counter(split[1] for split, _ in found if split)
    known = [(split[0], path) for split, path in found if split]
    unused = [str(path.relative_to(source)) for path in others]
    parts, notes = open_without_test(known, kind)
    return Parts(
        _form(form, known),
        source,
        parts,
        (*secret, *notes, *spelling_notes(spellings), *not_looked_at(unused, "the splits")),
    )


def _form(kind: str, parts: Sequence[tuple[str, Path]]) -> str:
    counts = Counter(split for split, _ in parts)
    shown = [
        f"{counts[split]:,} {'file' if counts[split] == 1 else 'files'}"
        + (f" of {split}" if split else "")
        for split in (*SPLITS, "")
        if counts[split]
    ]
    return f"{kind}, {', '.join(shown)}"


def _stem(path: Path, source: Path) -> str:
    """Returns what tells the split of a file: its name, or that of its folder."""
    name = path.name.split(".")[0]
    folder = path.parent.name
    return folder if path.parent != source and split_of(folder) else name


def _state_files(folder: Path) -> list[Path]:
    state = read_json(folder / STATE_FILE)
    state = state if isinstance(state, dict) else {}
    if state.get("_indices_data_files"):
        raise UserError(
            f"{folder} was saved with an index that picks and reorders its examples, which is not "
            "read. Call flatten_indices() before save_to_disk()."
        )
    named = state.get("_data_files")
    names = [one.get("filename") for one in named if isinstance(one, dict)] if named else []
    paths = [folder / Path(str(name)).name for name in names]
    if missing := [path.name for path in paths if not path.is_file()] or (not paths and ["any"]):
        raise UserError(
            f"{folder} lacks {missing[0]} of the Arrow files that its {STATE_FILE} names. Save the "
            "data set again with save_to_disk."
        )
    return paths


def _open(paths: Sequence[Path]) -> tuple[tuple[str, Path], ...]:
    return tuple(("", path) for path in paths)


def _is_of_records(path: Path) -> bool:
    match = _RECORDS.fullmatch(path.name)
    # A list or a tar may be compressed too.
    of_others = path.name.lower().endswith((".tar.gz", ".csv.gz", ".tsv.gz", ".json.gz"))
    named = match is not None and any(match.group(2, 3, 4)) and not of_others
    other = path.suffix.lower() in (".parquet", ".arrow", ".tar", ".csv", ".jsonl", ".array_record")
    return named and not other and path.is_file()


def _with_suffix(source: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Lists files by the ends of their names: here, else in the folders, else in those below."""
    level = [source]
    for _ in range(3):
        found = [
            path
            for folder in level
            for path in entries(folder)
            if path.name.lower().endswith(suffixes) and path.is_file()
        ]
        if found:
            return found
        level = [folder for one in level for folder in folders(one) if not _has_pictures(folder)]
        if len(level) > 16:  # class folders, not those of a data set's configurations
            return []
    return []


def _has_pictures(folder: Path) -> bool:
    """Returns whether one of a folder's first files is a picture: it may hold millions."""
    with os.scandir(folder) as found:
        return any(one.name.lower().endswith(PICTURE_SUFFIXES) for one in islice(found, _PEEKED))


def _is_named(path: Path, suffix: str) -> bool:
    return path.suffix.lower() == suffix
