"""The examples that `check-data` is given, as TFRecords: those that are some, and any data set."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from inception_finetune.components.dataset import tree
from inception_finetune.components.dataset.bad_examples import Policy
from inception_finetune.components.dataset.layout import layout_of
from inception_finetune.components.dataset.partition import read_encoded
from inception_finetune.components.dataset.picture_formats import as_png_or_jpeg
from inception_finetune.components.dataset.shard_files import FEATURES_FILE
from inception_finetune.components.dataset.tfrecord import frame, serialize_example
from inception_finetune.components.drift import records
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import IMAGE_ENCODED, LABEL, LABELS_FILE
from inception_finetune.components.io.address import public_address
from inception_finetune.components.io.download import local_path
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.components.io.object_store import is_in_store
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.data_set import OWN, fetch_archive, read_source, recognise

# All that is bad in new data is a finding, and is counted; leaks are none.
_COUNT_ALL: Final = Policy("skip", 1 << 62, "allow")
_PACKED: Final = (".tar.gz", ".csv.gz")  # end as compressed records do
_CHUNK: Final = 256  # pictures whose places are looked up at a time
_NAMED: Final = 3  # in a message


@dataclass
class NewExamples:
    """Files of records, and what of the given data is not in them as it was."""

    files: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # id -> reason
    unknown: Counter[str] = field(
        default_factory=Counter
    )  # pictures by class, unknown to the model

    @property
    def changes(self) -> list[str]:
        """What is wrong with the data, in words; empty where nothing is."""
        changes = []
        if self.left_out:
            identity, reason = next(iter(self.left_out.items()))
            changes.append(
                f"{len(self.left_out):,} examples cannot be read, such as {identity} ({reason})"
            )
        if self.unknown:
            named = [f"{name} ({count:,})" for name, count in self.unknown.most_common(_NAMED)]
            more = len(self.unknown) - _NAMED
            changes.append(
                f"pictures of classes that the model does not know: {', '.join(named)}"
                + (f" and {more} more" if more > 0 else "")
            )
        return changes


@contextmanager
def as_records(
    config: Config, places: Sequence[str], label_names: Sequence[str], *, labelled: bool
) -> Iterator[NewExamples]:
    """Makes TFRecords of all that `dataset.archive` could be; TFRecords are taken as they are.

    Labels of the made ones are those of `label_names` by name. A class that is not among them gets
    the number behind the last one, which the schema refuses.

    Args:
      config: says where downloads are kept and archives unpacked, and which columns of a table are
        pictures and classes.
      places: files and folders, and whatever else `dataset.archive` may be.
      label_names: the model's classes.
      labelled: whether examples have labels; else any folder of pictures will do.

    Yields:
      The examples; the made files are gone afterwards.

    Raises:
      UserError: a place does not exist, cannot be fetched or is no data set.
    """
    new = NewExamples()
    with scratch_folder("new-records-") as scratch:
        for number, given in enumerate(places):
            # What is not here is fetched as for a run.
            in_store = is_in_store(given)
            place = str(fetch_archive(_of_place(config, given))) if in_store else given
            path = None if place in OWN else local_path(place)
            if path and _holds_records(path):
                new.files += records.record_files([path])
                continue
            target = scratch / f"{number}.tfrecord"
            examples = (
                _pictures(path, new)
                if not labelled and path and path.is_dir() and _has_pictures(path)
                else _examples(config, place, label_names, new, labelled=labelled)
            )
            with target.open("wb") as file:
                for example in examples:
                    file.write(frame(serialize_example(example)))
            if target.stat().st_size:
                new.files.append(str(target))
        if not new.files:
            raise UserError(
                f"No example of {', '.join(map(public_address, places))} can be read: "
                f"{'; '.join(new.changes) or 'there is none'}. Give other data."
            )
        yield new


def _holds_records(place: Path) -> bool:
    """Returns whether records are to be compared as they are, by the numbers of their labels."""
    if place.is_file():
        return place.name.endswith(records.SUFFIXES) and not place.name.endswith(_PACKED)
    if (place / FEATURES_FILE).is_file():
        return False
    held = any(
        path.name.endswith(records.SUFFIXES) and not path.name.endswith(_PACKED)
        for path in place.iterdir()
    )
    if held and (place / LABELS_FILE).is_file():  # which may number the classes in another way
        try:
            layout_of(place)
        except UserError:
            return True
        return False
    return held


def _has_pictures(folder: Path) -> bool:
    return any(tree.looks_like_picture(path) for path in tree.files(folder))


def _pictures(folder: Path, new: NewExamples) -> Iterator[dict[str, bytes | int]]:
    for path in filter(tree.looks_like_picture, tree.files(folder)):
        encoded = read_encoded(os.fspath(path))
        stored = encoded if isinstance(encoded, str) else as_png_or_jpeg(encoded)
        if isinstance(stored, str):
            new.left_out[str(path)] = stored
        else:
            yield {IMAGE_ENCODED: stored.encoded}


def _examples(
    config: Config, place: str, label_names: Sequence[str], new: NewExamples, *, labelled: bool
) -> Iterator[dict[str, bytes | int]]:
    # New data may be of another kind than those of training, whose columns the settings name.
    found = recognise(_of_place(config, place))
    source = read_source(found, _COUNT_ALL)
    new.left_out |= source.skipped
    numbers = {name: number for number, name in enumerate(label_names)}
    usable = [i for i, identity in enumerate(source.ids) if identity not in source.skipped]
    for start in range(0, len(usable), _CHUNK):
        indices = np.array(usable[start : start + _CHUNK], np.int64)
        for index, picture in zip(indices, source.pictures(indices), strict=True):
            example: dict[str, bytes | int] = {IMAGE_ENCODED: picture.encoded}
            if labelled:
                name = source.label_names[source.labels[index]]
                if name not in numbers:
                    new.unknown[name] += 1
                example[LABEL] = numbers.get(name, len(numbers))
            yield example


def _of_place(config: Config, place: str) -> Config:
    given = {"archive": place, "layout": "auto", "sha256": None, "spans": None}
    return config.model_copy(update={"dataset": config.dataset.model_copy(update=given)})
