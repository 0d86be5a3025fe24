"""What `backbone compare` does: linear probes at every block, as table, chart and files."""

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import tensorflow as tf
from rich import box
from rich.console import Console
from rich.table import Table

from inception_finetune.components import features
from inception_finetune.components.backbone import load
from inception_finetune.components.backbone.compute_dtype import resolve_compute_dtype
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.backbone_comparison import chart
from inception_finetune.components.backbone_comparison.block_outputs import (
    Examples,
    block_outputs,
    read_examples,
)
from inception_finetune.components.backbone_comparison.comparison import (
    Candidate,
    Comparison,
    Cut,
    advice,
    advised,
    advised_candidate,
    costs,
    cut_after,
    rows,
)
from inception_finetune.components.backbone_comparison.probe import probe
from inception_finetune.components.dataset.convert import Manifest
from inception_finetune.components.drift.records import sample_records
from inception_finetune.components.io.address import public_address
from inception_finetune.components.io.whole_file import require_writable, whole_file
from inception_finetune.components.progress import progress
from inception_finetune.components.shown_text import plain
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.data_set import convert_dataset
from inception_finetune.pipeline.failure import as_user_error
from inception_finetune.pipeline.history.compare import FOLDER
from inception_finetune.pipeline.inputs import records_directory, resolve_backbone
from inception_finetune.pipeline.locks import pipeline_lock

_STEM: Final = "backbones"  # of the files' names
_LEGEND: Final = (
    "An image: kB of stored features, M× millions of multiplications, ms of the frozen blocks as "
    "measured. M parameters are trained, the head's included.\n"
)
_CAUTION: Final = (
    "A linear probe loses nothing by an advised cut, the cheapest of its kind. With thousands "
    "of pictures, training from an earlier block on can be more accurate."
)


class Samples(NamedTuple):
    """Of the two splits that a choice may look at."""

    train: Examples
    validation: Examples


def compare_backbones(
    configs: Sequence[Config], sample: int, folder: Path | None, console: Console
) -> Comparison:
    """Probes the backbone of each configuration; prints the tables and writes the files.

    Args:
      configs: they differ in `backbone` alone.
      sample: examples of train, and of validation, at most.
      folder: receives PNG, CSV and JSON; by default below the root.
      console: receives the tables.

    Raises:
      UserError: data or a backbone is missing or does not fit, or nothing can be written.
    """
    config = configs[0]
    folder = folder or Path(config.root) / FOLDER
    require_writable(folder)
    with as_user_error():
        found = [_find(one) for one in configs]  # before anything that takes long
        with pipeline_lock(Path(config.root)):
            records = records_directory(config)
            manifest = convert_dataset(config, records)
            samples = read_samples(records, sample, config.training.seed)
        labels = _labels(configs, [backbone for _, backbone in found])
        comparison = Comparison(
            dataset=public_address(config.dataset.archive),
            dataset_fingerprint=manifest.fingerprint,
            train=len(samples.train.labels),
            validation=len(samples.validation.labels),
            image_size=config.image.size,
            compute_dtype=resolve_compute_dtype(config.compute_dtype),
            seed=config.training.seed,
            candidates=tuple(
                _candidate(one, directory, label, samples, manifest)
                for one, (directory, _), label in zip(configs, found, labels, strict=True)
            ),
        )
    _print(comparison, console)
    _write(comparison, folder)
    for suffix in ("png", "csv", "json"):
        console.print(plain(f"{folder / _STEM}.{suffix}"), soft_wrap=True)
    return comparison


def read_samples(records: Path, sample: int, seed: int) -> Samples:
    """Draws from the train and the validation shards; the test shards are not opened."""
    with progress("Reading", total=None, unit="records") as advance:
        train, validation = (
            read_examples(
                sample_records(
                    sorted(map(str, records.glob(f"{split}-*.tfrecord"))), sample, seed, advance
                ).serialized
            )
            for split in (features.TRAIN, features.VALIDATION)
        )
    return Samples(train, validation)


def _find(config: Config) -> tuple[Path, Backbone]:
    """Where the module lies, and which network it is.

    Raises:
      UserError: there is no such module, it is another network, or it takes larger images alone.
    """
    directory = resolve_backbone(config)
    names = load.checkpoint_names(directory)
    backbone = load.choose_network(config.backbone.network, names, directory)
    load.require_size(backbone, config.image.size)
    return directory, backbone


def _labels(configs: Sequence[Config], backbones: Sequence[Backbone]) -> list[str]:
    """A title with the end of the handle; with all of it where that tells two not apart."""
    handles = [public_address(config.backbone.handle) for config in configs]
    short = [Path(handle).name for handle in handles]
    names = short if len(set(zip(backbones, short, strict=True))) == len(short) else handles
    return [f"{one.title}, {name}" for one, name in zip(backbones, names, strict=True)]


def _candidate(
    config: Config, directory: Path, label: str, samples: Samples, manifest: Manifest
) -> Candidate:
    loaded = load.load_backbone(
        directory, network=config.backbone.network, image_size=config.image.size
    )
    dtype = tf.as_dtype(resolve_compute_dtype(config.compute_dtype))
    began = time.monotonic()
    images = len(samples.train.labels) + len(samples.validation.labels)
    with progress(f"{label}: blocks", images, "images") as advance:
        train, validation = (
            block_outputs(loaded, examples, config.image, dtype, advance) for examples in samples
        )
    pass_seconds = time.monotonic() - began
    backbone = loaded.backbone
    cost = costs(backbone, config.image.size, len(manifest.label_names), dtype.size)
    cuts, frozen_seconds = [], 0.0
    with progress(f"{label}: probes", len(backbone.blocks), "cuts") as advance:
        for block in (one.name for one in backbone.blocks):
            frozen_seconds += train.seconds[block] + validation.seconds[block]
            found = probe(
                train.values[block],
                samples.train.labels,
                validation.values[block],
                samples.validation.labels,
                config.training.seed,
            )
            cuts.append(
                Cut(
                    block=block,
                    trainable_from=cut_after(backbone, block),
                    channels=train.values[block].shape[1],
                    accuracy=found.accuracy,
                    strength=found.strength,
                    probe_seconds=found.seconds,
                    frozen_seconds=frozen_seconds,
                    cost=cost[block],
                )
            )
            advance(1, block)
    return Candidate(
        label=label,
        handle=public_address(config.backbone.handle),
        network=backbone.name,
        fingerprint=loaded.fingerprint,
        pass_seconds=pass_seconds,
        cuts=tuple(cuts),
    )


def _print(comparison: Comparison, console: Console) -> None:
    images = comparison.train + comparison.validation
    for candidate in comparison.candidates:
        table = Table(
            title=plain(candidate.label),
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            padding=0,
        )
        for heading in ("frozen\nup to", "trainable\n_from"):
            table.add_column(heading, no_wrap=True)
        for heading in (
            "accuracy\n(95 %)",
            "kB",
            "frozen\nM×",
            "ms",
            "trained\nM×",
            "M para-\nmeters",
            "probe\ns",
        ):
            table.add_column(heading, justify="right", no_wrap=True)
        for cut in candidate.cuts:
            accuracy, cost = cut.accuracy, cut.cost
            table.add_row(
                cut.block,
                cut.trainable_from,
                f"{accuracy.value:.3f} ({accuracy.low:.3f}–{accuracy.high:.3f})",
                f"{cost.feature_bytes / 1e3:,.1f}",
                f"{cost.frozen_multiplications / 1e6:,.0f}",
                f"{1e3 * cut.frozen_seconds / images:.1f}",
                f"{cost.trained_multiplications / 1e6:,.0f}",
                f"{cost.trained_parameters / 1e6:.2f}",
                f"{cut.probe_seconds:.1f}",
                style="bold" if cut is advised(candidate) else None,
            )
        console.print(table)
        console.print(
            f"One pass: {images:,} images in {candidate.pass_seconds:.1f} s, decoding included.\n",
            highlight=False,
        )
    console.print(_LEGEND, highlight=False)
    for line in advice_lines(comparison):
        console.print(plain(line))


def advice_lines(comparison: Comparison) -> list[str]:
    """A sentence for each backbone, one on which of them where there are several, and a caution."""
    lines = [advice(candidate) for candidate in comparison.candidates]
    if len(lines) > 1:
        chosen = advised_candidate(comparison.candidates)
        lines.append(
            f"Of these networks they advise {chosen.label}: of those whose best probe lies within "
            f"the best one's interval it takes the fewest multiplications, "
            f"{chosen.multiplications / 1e6:,.0f} million an image."
        )
    lines.append(_CAUTION)
    return lines


def _write(comparison: Comparison, folder: Path) -> None:
    text = io.StringIO(newline="")
    lines = rows(comparison)
    writer = csv.DictWriter(text, lines[0])
    writer.writeheader()
    writer.writerows(lines)
    contents = {
        "png": chart.png(comparison),
        "csv": text.getvalue().encode(),
        "json": comparison.model_dump_json(indent=2).encode(),
    }
    for suffix, content in contents.items():
        with whole_file(folder / f"{_STEM}.{suffix}") as temporary:
            temporary.write_bytes(content)
