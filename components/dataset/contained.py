"""Pictures that lie inside of other files: copied out of them in a stream, then read as listed.

Readers of such files yield a `ContainedPicture` at a time. `copy_out` appends the pictures to one
file and writes a listing of their places in it, so that what follows, on Beam's workers, is the
same as for picture files.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple

from inception_finetune.components.dataset.bad_examples import Policy, Skipped
from inception_finetune.components.dataset.encoded_source import (
    EncodedExample,
    EncodedSource,
    check_examples,
)
from inception_finetune.components.dataset.layout import Layout
from inception_finetune.components.dataset.listing import (
    Listing,
    case_notes,
    file_sha256,
    file_state,
    require_classes,
)
from inception_finetune.components.dataset.probe import FILE_TOO_LARGE, LARGEST_FILE
from inception_finetune.components.dataset.tree import entries
from inception_finetune.components.errors import UserError
from inception_finetune.components.progress import progress

_CAPTIONS: Final = 20  # pictures from which on a class for each of them is no class


class ContainedPicture(NamedTuple):
    """A picture as a reader yields it."""

    id: str
    split: str
    label_name: str
    encoded: bytes


class Reader(NamedTuple):
    """The pictures of a layout, and the classes in their order where its files name them."""

    label_names: tuple[str, ...]  # empty where no file names them
    pictures: Iterator[ContainedPicture]


def read_contained(layout: Layout, skipped: Skipped) -> Reader:
    """Opens the files of a layout.

    Args:
      layout: its pictures lie inside of files.
      skipped: receives the bad examples.

    Raises:
      UserError: a file is damaged, or does not say which of its columns are pictures and classes.
    """
    return _reader_of(layout)(layout, skipped)


def _reader_of(layout: Layout) -> Callable[[Layout, Skipped], Reader]:
    # Each kind has an own import: of pyarrow, and of TensorFlow's records.
    if layout.kind in ("parquet", "arrow"):
        from inception_finetune.components.dataset.columns import read_columns

        return read_columns
    if layout.kind == "webdataset":
        from inception_finetune.components.dataset.webdataset import read_webdataset

        return read_webdataset
    from inception_finetune.components.dataset.records import read_copied_records

    return read_copied_records


def contained_fingerprint(layout: Layout) -> str:
    """Returns a hash that changes with the files' sizes and times, their splits and the notes."""
    root = layout.path if layout.path.is_dir() else layout.path.parent
    named = [(split, str(path.relative_to(root))) for split, path in layout.parts]
    made_of = [layout.kind, named, layout.notes, *layout.columns.given]
    digest = hashlib.sha256(json.dumps(made_of).encode())
    if layout.unpacked_from:
        digest.update(file_sha256(layout.unpacked_from))
        return digest.hexdigest()
    described = [path for path in entries(root) if path.suffix in (".txt", ".json")]
    for path in [*(path for _, path in layout.parts), *described]:
        digest.update(f"{path.relative_to(root)}\0{file_state(str(path))}\n".encode())
    return digest.hexdigest()


def copy_out(layout: Layout, listing: Path, pictures: Path, skipped: Skipped) -> Listing:
    """Copies the pictures of a layout to one file, and lists them.

    Args:
      layout: its pictures lie inside of files.
      listing: receives a JSON array ``[id, address, label, split, offset, length]`` a line.
      pictures: receives the pictures, one behind the other.
      skipped: receives the bad examples.

    Raises:
      UserError: a file is damaged, examples are bad and the policy does not skip them, or the
        classes are none to learn.
    """
    with pictures.open("wb") as spool, tempfile.TemporaryFile("w+", encoding="utf-8") as rows:
        copied = _copy(layout, spool, rows, skipped)
        require_classes(layout.shown, copied.names, copied.counts)
        with listing.open("w", encoding="utf-8") as file:
            for one in copied.rows():
                place = [one.offset, one.length]
                row = [one.id, str(pictures), copied.numbers[one.label_name], one.split, *place]
                file.write(json.dumps(row) + "\n")
    count, fingerprint = copied.counts.total(), contained_fingerprint(layout)
    return Listing(copied.names, count, layout.splits, fingerprint, copied.notes)


def read_copied(layout: Layout, policy: Policy) -> tuple[EncodedSource, tuple[str, ...]]:
    """Reads and checks every picture of a layout on this machine, and keeps a copy on disk.

    Args:
      layout: its pictures lie inside of files.
      policy: what happens to bad examples.

    Returns:
      The source, and the notes on it. The copy has no name and is gone with the source.

    Raises:
      UserError: as `copy_out`.
    """
    skipped = Skipped(policy)
    spool = tempfile.TemporaryFile()  # noqa: SIM115 (the source keeps it open)
    address = f"/proc/self/fd/{spool.fileno()}"
    with tempfile.TemporaryFile("w+", encoding="utf-8") as rows:
        copied = _copy(layout, spool, rows, skipped)
        spool.flush()

        def examples() -> Iterator[EncodedExample]:
            with Path(address).open("rb") as file:
                for one in copied.rows():
                    label = copied.numbers[one.label_name]
                    file.seek(one.offset)
                    encoded = file.read(one.length)
                    yield EncodedExample(one.id, one.split, label, address, one.offset, encoded)

        source = check_examples(examples(), copied.names, "", skipped, copy=spool)
    return source, copied.notes


class _Row(NamedTuple):
    id: str
    label_name: str
    split: str
    offset: int  # bytes
    length: int  # bytes


class _Copied(NamedTuple):
    rows: Callable[[], Iterator[_Row]]
    counts: Counter[tuple[str, str]]  # of pictures by class and split
    names: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}


def _copy(layout: Layout, spool: IO[bytes], rows: IO[str], skipped: Skipped) -> _Copied:
    reader = read_contained(layout, skipped)
    counts: Counter[tuple[str, str]] = Counter()
    offset = 0
    with progress("Copying", None, "images") as advance:
        for one in reader.pictures:
            advance(1)
            if len(one.encoded) > LARGEST_FILE:
                skipped.reject(one.id, FILE_TOO_LARGE, str(layout.shown))
                continue
            row = _Row(one.id, one.label_name, one.split, offset, len(one.encoded))
            rows.write(json.dumps(row) + "\n")
            counts[one.label_name, one.split] += 1
            offset += spool.write(one.encoded)
    present = {name for name, _ in counts}
    if not reader.label_names and counts.total() == len(present) >= _CAPTIONS:
        raise UserError(
            f"Each of the {len(present):,} pictures of {layout.shown} has a class of its own, such "
            f"as {min(present)[:40]!r}: these are descriptions, not classes. Give classes."
        )
    names = _order(reader.label_names, present)

    def read_rows() -> Iterator[_Row]:
        rows.seek(0)
        return (_Row(*json.loads(line)) for line in rows)

    notes = (*layout.notes, *_notes(reader.label_names, names))
    return _Copied(read_rows, counts, names, notes)


def _order(known: tuple[str, ...], present: set[str]) -> tuple[str, ...]:
    """Returns the classes that occur: as the files have them in order, or else by name."""
    if known:
        return tuple(name for name in known if name in present)
    if all(name.isdecimal() for name in present):
        return tuple(sorted(present, key=lambda name: (int(name), name)))
    return tuple(sorted(present))


def _notes(known: tuple[str, ...], names: tuple[str, ...]) -> Iterator[str]:
    if unused := [name for name in known if name not in names]:
        more = f" and {len(unused) - 5} more" if len(unused) > 5 else ""
        yield f"no picture, and so no class for: {', '.join(unused[:5])}{more}"
    if not known and all(name.isdecimal() for name in names):
        yield "no file names the classes: they are called by their numbers"
    yield from case_notes(names)
