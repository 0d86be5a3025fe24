"""A folder of picture files: ``train/<class>/…``, ``test/<class>/…``, perhaps ``validation/``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from components.dataset.bad_examples import Policy, Skipped
from components.dataset.stored import Found, StoredExamples, check_all, fingerprint_of
from components.errors import UserError
from components.features import SPLITS, TEST, TRAIN

_LARGEST_FILE: Final = 1 << 28  # bytes; more than any picture that is read needs


def holds_pictures(directory: Path) -> bool:
    return (directory / TRAIN).is_dir()


def folder_fingerprint(directory: Path) -> str:
    plain = [path for _, path in _files(directory, _label_names(directory)) if path.is_file()]
    return fingerprint_of(plain, directory)


def read_folder(directory: Path, policy: Policy) -> StoredExamples:
    """Reads and checks every file; names that begin with a dot are not looked at.

    Raises:
      UserError: a split or a class is missing, or examples are bad and the policy does not leave
        them out.
    """
    label_names, skipped = _label_names(directory), Skipped(policy)
    found = _found(directory, label_names, skipped)
    return check_all(found, label_names, folder_fingerprint(directory), skipped)


def _label_names(directory: Path) -> tuple[str, ...]:
    """The classes of train, which the other splits may not add to."""
    for split in (TRAIN, TEST):
        if not (directory / split).is_dir():
            raise UserError(
                f"a folder of pictures holds train/CLASS and test/CLASS. {directory} lacks {split}"
            )
    classes = {split: _classes(directory / split) for split in SPLITS}
    names = classes[TRAIN]
    if len(names) < 2 or not all(name.isprintable() for name in names):
        raise UserError(
            f"train needs a folder for each of two classes or more, with printable names. "
            f"Received: {names} in {directory / TRAIN}"
        )
    for split in SPLITS:
        if unknown := sorted(set(classes[split]) - set(names)):
            raise UserError(
                f"every class has pictures in train. Received: {unknown[0]!r} in "
                f"{directory / split} alone; add it to train, or remove it"
            )
    return tuple(names)


def _classes(directory: Path) -> list[str]:
    if not directory.is_dir():
        return []
    return sorted(path.name for path in directory.iterdir() if path.name[0] != ".")


def _files(directory: Path, label_names: tuple[str, ...]) -> Iterator[tuple[int, Path]]:
    """(label, path) in an order that does not depend on the file system."""
    for split in SPLITS:
        for label, name in enumerate(label_names):
            folder = directory / split / name
            if folder.is_dir():
                for path in sorted(folder.iterdir()):
                    if path.name[0] != ".":
                        yield label, path


def _found(directory: Path, label_names: tuple[str, ...], skipped: Skipped) -> Iterator[Found]:
    for label, path in _files(directory, label_names):
        relative = path.relative_to(directory)
        # A name that is not UTF-8 is written with escapes.
        id_ = str(relative).encode(errors="backslashreplace").decode()
        if not path.is_file():
            skipped.bad(id_, "a class' folder holds plain files", str(directory))
        elif (size := path.stat().st_size) > _LARGEST_FILE:
            reason = f"a picture's file has at most {_LARGEST_FILE:,} bytes, here {size:,}"
            skipped.bad(id_, reason, str(directory))
        else:
            yield Found(id_, relative.parts[0], label, str(path), 0, path.read_bytes())
