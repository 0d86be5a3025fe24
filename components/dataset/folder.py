"""A folder of picture files: ``train/<class>/…``, ``test/<class>/…``, perhaps ``validation/``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from components.dataset.bad_examples import Policy, Skipped
from components.dataset.listing import PLAIN_FILE, class_files, class_folders, identity_of
from components.dataset.look import FILE_RULE, LARGEST_FILE
from components.dataset.stored import Found, StoredExamples, check_all, fingerprint_of
from components.errors import UserError
from components.features import SPLITS, TEST, TRAIN


def holds_pictures(directory: Path) -> bool:
    return (directory / TRAIN).is_dir()


def folder_fingerprint(directory: Path) -> str:
    _label_names(directory)
    files = (path for _, _, path in class_files(directory, SPLITS) if path.is_file())
    return fingerprint_of(files, directory)


def read_folder(directory: Path, policy: Policy) -> StoredExamples:
    """Reads and checks every file.

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
    classes = {
        split: [folder.name for folder in class_folders(directory / split)] for split in SPLITS
    }
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


def _found(directory: Path, label_names: tuple[str, ...], skipped: Skipped) -> Iterator[Found]:
    labels = {name: label for label, name in enumerate(label_names)}
    for split, name, path in class_files(directory, SPLITS):
        identity = identity_of(path, directory)
        if not path.is_file():
            skipped.bad(identity, PLAIN_FILE, str(directory))
        elif (size := path.stat().st_size) > LARGEST_FILE:
            skipped.bad(identity, f"{FILE_RULE}, here {size:,}", str(directory))
        else:
            yield Found(identity, split, labels[name], str(path), 0, path.read_bytes())
