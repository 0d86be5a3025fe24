"""What `init` does: looks at pictures, and writes a configuration that suits them."""

import re
import shlex
import statistics
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console
from rich.filesize import decimal

from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.backbone_comparison.comparison import Cost, costs
from inception_finetune.components.dataset import show
from inception_finetune.components.dataset.bad_examples import Policy
from inception_finetune.components.dataset.settings import Dataset
from inception_finetune.components.dataset.source import BrowsableSource
from inception_finetune.components.errors import UserError
from inception_finetune.components.features import TEST, TRAIN, VALIDATION
from inception_finetune.components.io.whole_file import whole_file
from inception_finetune.components.shown_text import plain, visible
from inception_finetune.pipeline.config import Config, load_config
from inception_finetune.pipeline.data_set import find_layout, read_source

NAME: Final = "pictures"  # where the folder's own has no letters
_MEASURED: Final = 200  # pictures whose size is looked at
_SMALL: Final = 128  # pixels of the shorter side, up to which the network's input is smaller
_SIZES: Final = (139, 299)  # pixels: of the network's input, for small and for other pictures
_WHOLE: Final = 64  # pixels of the shorter side, up to which nothing is cropped away
# Train pictures up to which so many epochs and such batches are written: small sets need more of
# the one and have no room for the other.
_EPOCHS: Final = ((1_000, 15), (10_000, 8), (np.inf, 5))
_BATCHES: Final = ((500, 16), (2_000, 32), (np.inf, 64))
_IMBALANCE: Final = 3.0  # pictures of the largest class over those of the smallest
_FIXED_SECONDS: Final = 35  # of a run's command, whatever its size (docs/scaling.md)
_BACKWARD: Final = 3  # work of a training step over that of an answer


class Found(NamedTuple):
    """What was found in a data set."""

    source: BrowsableSource
    summary: show.Summary
    layout: str  # what was recognised, in words
    splits: dict[str, int]  # pictures by split; "" where it is left open
    sides: tuple[int, ...]  # shorter sides of a sample, in pixels


class Estimate(NamedTuple):
    """Of the first run on this machine."""

    seconds: float
    stored_bytes: float  # of the frozen trunk's answers


def first_config(
    archive: str, image_column: str | None = None, label_column: str | None = None
) -> Config:
    """Returns the defaults for a data set.

    Args:
      archive: what `dataset.archive` may name.
      image_column: of a table, that of the pictures; None has it found.
      label_column: the same of the classes.

    Raises:
      UserError: a value is out of its range.
    """
    given = {"archive": archive, "image_column": image_column, "label_column": label_column}
    named = {key: value for key, value in given.items() if value is not None}
    return load_config(None, [f"dataset.{key}={_quoted(value)}" for key, value in named.items()])


def look(config: Config) -> Found:
    """Reads every picture once; those that cannot be read are counted.

    Args:
      config: names the data set.

    Raises:
      UserError: it looks like no data set.
    """
    archive = config.dataset.archive
    layout = find_layout(config)
    source = read_source(layout, Policy("skip", max_bad_examples=2**62, on_leakage="allow"))
    kept = [index for index, one in enumerate(source.ids) if one not in source.skipped]
    if not kept:
        raise UserError(f"{archive} holds no picture that can be read. Give a folder of pictures.")
    sample = np.random.default_rng(0).permutation(kept)[:_MEASURED]
    names, counts = np.unique(source.splits[kept], return_counts=True)
    return Found(
        source=source,
        summary=show.summarize(source),
        layout=layout.line,
        splits=dict(zip(names.tolist(), counts.tolist(), strict=True)),
        sides=tuple(min(source.pixels(int(index)).shape[:2]) for index in sample),
    )


def require_free(target: Path) -> None:
    """Checks, before anything that takes long, that no file would be replaced.

    Raises:
      UserError: the file is there.
    """
    if target.exists():
        raise UserError(
            f"{target} is there already. Give another --output, or --force to replace it."
        )


def write_config(dataset: Dataset, found: Found, target: Path) -> Config:
    """Writes a commented configuration.

    Args:
      dataset: names the data set, as it was given.
      found: of `look`.
      target: the YAML file; one that is there is replaced.

    Returns:
      The configuration, as the commands will read it.

    Raises:
      UserError: the file cannot be written.
    """
    median = int(statistics.median(found.sides))
    train = found.splits.get(TRAIN, 0) + found.splits.get("", 0)
    counts = _class_counts(found.summary)
    least, most = int(np.argmin(counts)), int(np.argmax(counts))
    names = found.summary.label_names
    imbalance = ""
    if counts[most] > _IMBALANCE * max(1, counts[least]):
        imbalance = (
            f"{counts[most]:,} pictures of {visible(names[most])}, {counts[least]:,} of "
            f"{visible(names[least])}:"
        )
    name = config_name(dataset.archive)
    columns = {"image": dataset.image_column, "label": dataset.label_column}
    text = (
        Environment(
            loader=PackageLoader(__package__),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # noqa: S701 - YAML, of our own and quoted values
        )
        .get_template("first.yaml")
        .render(
            about=visible(f"{len(found.source.ids):,} pictures of {len(names)} classes"),
            file=shlex.quote(str(target)),
            name=name,
            root=f"build/{name}",
            archive=_quoted(dataset.archive),
            columns={what: _quoted(one) for what, one in columns.items() if one is not None},
            has_test=TEST in found.splits,
            has_validation=VALIDATION in found.splits,
            bad=len(found.source.skipped),
            max_bad=max(100, 2 * len(found.source.skipped)),
            leaks=len(found.summary.leaks),
            size=_SIZES[0] if median <= _SMALL else _SIZES[1],
            median=median,
            whole=median <= _WHOLE,
            epochs=next(epochs for bound, epochs in _EPOCHS if train <= bound),
            batch_size=next(size for bound, size in _BATCHES if train <= bound),
            imbalance=imbalance,
            min_accuracy=round(max(0.8, 1.5 / len(names)), 2) if len(names) > 2 else 0.9,
        )
    )
    with whole_file(target) as temporary:
        temporary.write_text(text, "utf-8")
    return load_config(str(target))


def estimate(config: Config, found: Found) -> Estimate:
    """Estimates a run from the work of the network and this machine's speed, measured for 1 s.

    Args:
      config: of the run.
      found: of `look`.
    """
    backbone = NETWORKS[config.backbone.network]
    cost = _cost(backbone, config, len(found.summary.label_names))
    pictures = len(found.source.ids)
    test = found.splits.get(TEST) or int(config.dataset.test_fraction * pictures)
    learned = pictures - test
    epochs = config.training.epochs or 1
    work = (
        pictures * cost.frozen_multiplications
        + epochs * learned * _BACKWARD * cost.trained_multiplications
        + test * (cost.frozen_multiplications + cost.trained_multiplications)
    )
    return Estimate(_FIXED_SECONDS + work / _speed(), pictures * float(cost.feature_bytes))


def print_found(found: Found, console: Console) -> None:
    """Prints classes, counts and oddities; fits 80 columns."""
    show.print_summary(found.summary, console)


def print_next(config: Config, target: Path, expected: Estimate, console: Console) -> None:
    """Prints what a run will take, and the next commands."""
    file = shlex.quote(str(target))
    console.print(
        f"A run takes some {_minutes(expected.seconds)} on this machine, and stores "
        f"{decimal(round(expected.stored_bytes))} for the frozen part of the network.",
        highlight=False,
    )
    console.print(plain(f"written: {target}"), soft_wrap=True)
    console.print("\nnext:", style="bold")
    for command, what in (
        ("data check", "copies, wrong labels and unusual pictures, as a page"),
        ("run", f"convert, train, measure; pushed from {config.gate.min_accuracy:.0%} on"),
    ):
        console.print(plain(f"  inception-finetune {command} -c {file}"), soft_wrap=True, end="")
        console.print(f"  # {what}", style="dim", highlight=False, soft_wrap=True)


def _class_counts(summary: show.Summary) -> np.ndarray:
    return np.sum([batch.label_counts for batch in summary.batches], axis=0)


def config_name(archive: str) -> str:
    """Returns the pipeline's name for a data set, of its file or folder.

    Args:
      archive: what `dataset.archive` may name.
    """
    stem = Path(archive.rstrip("/")).name.split(".")[0].casefold()
    name = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:40].strip("-")
    return name or NAME


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=2**31).strip()


def _cost(backbone: Backbone, config: Config, classes: int) -> Cost:
    """Returns the cost of the configured cut."""
    names = [block.name for block in backbone.blocks]
    last_frozen = names[names.index(config.backbone.trainable_from) - 1]
    return costs(backbone, config.image.size, classes, value_bytes=2)[last_frozen]


def _speed() -> float:
    """Measures how many multiplications this machine's convolutions do in a second."""
    import tensorflow as tf

    images = tf.random.stateless_normal([8, 35, 35, 192], [0, 1])
    kernel = tf.random.stateless_normal([3, 3, 192, 192], [0, 2])
    function = tf.function(lambda: tf.reduce_sum(tf.nn.conv2d(images, kernel, 1, "SAME")))
    function()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < 1:
        function().numpy()
        calls += 1
    work = 8 * 35 * 35 * 9 * 192 * 192
    return calls * work / (time.perf_counter() - began)


def _minutes(seconds: float) -> str:
    if seconds < 3600:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h"
