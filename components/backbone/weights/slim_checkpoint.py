"""Reads a network's weights from a checkpoint of TF-Slim, as Google published it, or one's own.

TensorFlow 1 wrote checkpoints in two forms. Version 1 is one file, a table of all tensors;
version 2 is ``PREFIX.index``, the same kind of table without the values, and ``PREFIX.data-*``.
"""

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import numpy as np

from inception_finetune.components.backbone.foreign import in_one_line
from inception_finetune.components.backbone.load import choose_network
from inception_finetune.components.backbone.module import GRAPH_FILE
from inception_finetune.components.backbone.network import Backbone, mismatch
from inception_finetune.components.backbone.weights import Weights
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.components.io.tar import extract_tar, is_tar, tar_files

if TYPE_CHECKING:
    from tensorflow.train import CheckpointReader

VALUE_RANGE: Final = (-1.0, 1.0)  # of the pixels, in all of TF-Slim's preprocessing for Inception
TABLE_END: Final = bytes.fromhex("57fb808b247547db")  # the last bytes of a table
INDEX: Final = ".index"
STATE_FILE: Final = "checkpoint"  # beside the checkpoints of a training: which one is the latest
LATEST: Final = re.compile(r'^model_checkpoint_path: "(?:.*/)?([^/"]+)"', re.MULTILINE)
PART: Final = re.compile(r"\.(data-\d+-of-\d+|meta)$")  # other files of a checkpoint
REMEDY: Final = "Fetch it again, with all of its files"
CLASSIFIER: Final = "Logits"
CLASSIFIERS: Final = (CLASSIFIER, "AuxLogits", "Predictions")


def recognises(path: Path) -> bool:
    """Returns whether the path is a checkpoint, or a folder or an archive with one inside.

    All names of a version 2 checkpoint are accepted: the prefix and each of its files.
    """
    try:
        if path.is_file() and is_tar(path):
            return _is_in_archive(path)
        return bool(_tables(path))
    except (OSError, ValueError, UserError):
        return False


def read(path: Path, network: str) -> Weights:
    """Reads the checkpoint's variables of the network, whatever their prefix, float32.

    All else is left out, with a message on stderr: the classifier, with its number of classes, and
    what belongs to training (optimizer slots, moving averages, counters).

    Args:
        path: as `recognises` accepts it.
        network: name of the network that it must be, or ``auto``.

    Raises:
        UserError: a file that cannot be read, several checkpoints, another network, variables that
            are missing, surplus, misshapen, present twice or not finite.
    """
    import tensorflow as tf

    with _one_table(path) as table, _plainly_named(table) as prefix:
        try:
            with in_one_line(f"Checkpoint {path} cannot be read", REMEDY):
                reader = tf.train.load_checkpoint(str(prefix))
                contents = sort_variables(reader.get_variable_to_shape_map(), path, network)
                values = _values(contents, reader, path)
        except UserError as error:  # the prefix is a temporary one
            raise UserError(str(error).replace(str(prefix), str(path))) from error
    print(f"{path}: {contents.summary}", file=sys.stderr, flush=True)
    return Weights(contents.backbone, values, VALUE_RANGE, answer=None)


@dataclass
class Contents:
    """The variables of a checkpoint."""

    backbone: Backbone
    keys: dict[str, str] = field(default_factory=dict)  # in the checkpoint, by TF-Slim name
    classes: int | None = None  # of its classifier, the background too where it has one
    classifier: list[str] = field(default_factory=list)  # left out
    others: list[str] = field(default_factory=list)  # left out

    @property
    def summary(self) -> str:
        """One line on what was left out."""
        parts = []
        if self.classifier:
            classes = f" of {self.classes:,} classes" if self.classes else ""
            parts.append(f"its classifier{classes}")
        if self.others:
            parts.append(f"{len(self.others)} more, such as {min(self.others, key=len)}")
        left_out = " and ".join(parts) or "nothing"
        return f"the {len(self.keys)} variables of {self.backbone.title}; left out: {left_out}"


def sort_variables(shapes: Mapping[str, list[int]], path: Path, network: str) -> Contents:
    """Sorts a checkpoint's variables into the network's, its classifier's and others.

    Args:
        shapes: of all variables by name.
        path: of the checkpoint, for messages.
        network: name of the network that it must be, or ``auto``.

    Raises:
        UserError: another network, or variables that are missing, surplus, misshapen or present
            twice.
    """
    backbone = choose_network(network, shapes, path)
    expected = dict(backbone.variables(backbone.native_size))
    contents = Contents(backbone)
    for key, shape in sorted(shapes.items()):
        _, scope, rest = key.rpartition(backbone.scope)
        name = scope + rest
        if scope and rest.partition("/")[0] in CLASSIFIERS:
            contents.classifier.append(key)
            if rest.startswith(f"{CLASSIFIER}/") and rest.endswith("/biases"):
                contents.classes = shape[0]
        elif not scope or _is_of_training(name, expected):
            contents.others.append(key)
        elif name in contents.keys:
            raise UserError(
                f"Checkpoint {path} holds {name} twice, as {contents.keys[name]} and {key}, and "
                f"must hold one {backbone.title}. Save one network alone."
            )
        else:
            contents.keys[name] = key
    shapes_in_file = {name: tuple(shapes[key]) for name, key in contents.keys.items()}
    if problems := mismatch(shapes_in_file, expected):
        raise UserError(
            f"Checkpoint {path} does not fit {backbone.title}, which has {len(expected)} "
            f"variables: {problems}. Take one that TF-Slim's {backbone.name} wrote."
        )
    return contents


def _is_of_training(name: str, expected: Mapping[str, tuple[int, ...]]) -> bool:
    """Returns whether `name` is a slot or an average, named below the variable it belongs to."""
    parts = name.split("/")
    return any("/".join(parts[:count]) in expected for count in range(1, len(parts)))


def _values(contents: Contents, reader: "CheckpointReader", path: Path) -> dict[str, np.ndarray]:
    backbone = contents.backbone
    dtypes = reader.get_variable_to_dtype_map()
    values = {}
    for name, _ in backbone.variables(backbone.native_size):
        dtype = dtypes[contents.keys[name]]
        if not dtype.is_floating:  # and may be text of any length
            raise UserError(
                f"Weights in {path} are not finite floating-point numbers: {name} is {dtype.name}. "
                "Take another checkpoint."
            )
        array = reader.get_tensor(contents.keys[name])
        if array.dtype.kind in "fV":  # V: bfloat16 to NumPy
            array = array.astype(np.float32)
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise UserError(
                f"Weights in {path} are not finite floating-point numbers: {name} is {array.dtype} "
                "or holds NaN or infinity. Take another checkpoint."
            )
        values[name] = array
    return values


@contextmanager
def _one_table(path: Path) -> Iterator[Path]:
    """Yields the table of the one checkpoint in a file, folder or archive, unpacked meanwhile."""
    if not (path.is_file() and is_tar(path)):
        yield _latest(_tables(path), path)
        return
    with scratch_folder("weights-") as scratch:
        unpacked = scratch / "archive"
        extract_tar(path, unpacked)
        folders = sorted({file.parent for file in unpacked.rglob("*") if file.is_file()})
        yield _latest([table for folder in folders for table in _tables(folder)], path)


def _latest(tables: list[Path], path: Path) -> Path:
    """Returns the only table, or the one that training recorded as the latest."""
    if len(tables) > 1:
        state = tables[0].parent / STATE_FILE
        named = LATEST.search(state.read_text("utf-8", "replace")) if state.is_file() else None
        latest = [one for one in tables if named and one.name.removesuffix(INDEX) == named[1]]
        tables = latest or tables
    if len(tables) != 1:
        names = ", ".join(table.name for table in tables[:5]) or "none"
        raise UserError(
            f"{path} holds {len(tables)} checkpoints, not one: {names}. Give the one to take."
        )
    return tables[0]


def _tables(path: Path) -> list[Path]:
    """Returns the tables in a folder, or the one that a checkpoint's name leads to."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if _is_table(file))
    stem = path.with_name(PART.sub("", path.name) or path.name)
    candidates = (path, stem.with_name(stem.name + INDEX), stem)
    return [file for file in candidates if _is_table(file)][:1]


def _is_table(file: Path) -> bool:
    if not file.is_file() or file.stat().st_size < len(TABLE_END):
        return False
    with file.open("rb") as stream:
        return _ends_table(stream, file.stat().st_size)


def _ends_table(stream: IO[bytes], size: int) -> bool:
    stream.seek(max(0, size - len(TABLE_END)))
    return stream.read() == TABLE_END


def _is_in_archive(path: Path) -> bool:
    """Returns whether an archive holds a table but no SavedModel, which has one as well."""
    has_table = False
    with tar_files(path) as files:
        for name, stream in files:
            if name.name == GRAPH_FILE:
                return False
            has_table |= _ends_table(stream, stream.seek(0, 2))
    return has_table


@contextmanager
def _plainly_named(table: Path) -> Iterator[Path]:
    """Yields a checkpoint's prefix without TensorFlow's pattern characters ``*``, ``?``, ``[``."""
    with tempfile.TemporaryDirectory() as scratch:
        prefix = Path(scratch) / "model.ckpt"
        if table.suffix != INDEX:
            prefix.symlink_to(table.resolve())
        else:
            prefix.with_name(prefix.name + INDEX).symlink_to(table.resolve())
            for file in table.parent.iterdir():
                if file.name.startswith(f"{table.stem}.data-"):
                    part = prefix.name + file.name.removeprefix(table.stem)
                    prefix.with_name(part).symlink_to(file.resolve())
        yield prefix
