"""What `data check` does: looks for faults in the data set, and writes a page and a table."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inception_finetune.components import features
from inception_finetune.components.backbone.network import ALL, HEAD, Backbone
from inception_finetune.components.data_check import page
from inception_finetune.components.data_check.findings import Findings, collect, suggestions
from inception_finetune.components.data_check.label_issues import FOLDS, examine_labels
from inception_finetune.components.data_check.measured import early_block
from inception_finetune.components.data_check.near_duplicates import (
    duplicate_groups,
    near_duplicates,
)
from inception_finetune.components.data_check.neighbours import nearest_neighbours
from inception_finetune.components.data_check.unusual import unusual_images
from inception_finetune.components.dataset.corrections import REMOVE, Row, corrections_text
from inception_finetune.components.drift.records import read_records
from inception_finetune.components.io.address import public_address
from inception_finetune.components.io.whole_file import require_writable, whole_file
from inception_finetune.components.progress import progress
from inception_finetune.components.shown_text import plain, visible
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.data_set import convert_dataset
from inception_finetune.pipeline.inputs import find_network, records_directory, resolve_backbone
from inception_finetune.pipeline.locks import pipeline_lock
from inception_finetune.pipeline.near_duplicates import measure_images, record_files

FOLDER: Final = "data-check"  # below the root
PAGE: Final = "data.html"
TABLE: Final = "corrections.csv"
FINDINGS: Final = "findings.json"


class Checked(NamedTuple):
    """The findings, and where they were written."""

    findings: Findings
    folder: Path


def check_data_set(config: Config, folder: Path | None, sample: int) -> Checked:
    """Looks at the images of the converted data set.

    Copies that the conversion would refuse as leaks are findings here, so they are let through into
    records of their own.

    Args:
      config: of the pipeline.
      folder: receives page, table and findings; by default below the root.
      sample: images that are looked at; of more they are drawn at random.

    Raises:
      UserError: data or a backbone is missing or damaged, or nothing can be written.
    """
    folder = folder or Path(config.root) / FOLDER
    require_writable(folder)
    with pipeline_lock(Path(config.root)):
        lenient = config.model_copy(
            update={"dataset": config.dataset.model_copy(update={"on_leakage": "allow"})}
        )
        records = records_directory(config)
        if config.dataset.on_leakage != "allow":
            records = records.with_name(f"{records.name}-checked")
        manifest = convert_dataset(lenient, records)
        files = record_files(records, manifest)
        total = sum(manifest.counts.values())
        directory = resolve_backbone(config)
        backbone = find_network(config, directory)
        chosen = np.zeros(total, bool)
        chosen[np.random.default_rng(config.dataset.seed).permutation(total)[:sample]] = True
        early = early_block(backbone, config.image.size)
        blocks = _blocks(config, backbone, early)
        measured = measure_images(config, directory, backbone, files, blocks, chosen)
        count = len(measured.ids)
        with progress("Comparing", count, "images") as advance:
            neighbours = nearest_neighbours(measured.features[early])
            pairs = near_duplicates(measured.grey, neighbours, advance)
        groups = duplicate_groups(pairs, count)
        with progress("Judging labels", FOLDS + 1, "folds") as advance:
            labels = examine_labels(
                measured.features,
                measured.labels,
                measured.splits,
                groups,
                config.dataset.seed,
                advance,
            )
        unusual = unusual_images(measured, neighbours, config.image.size)
        findings = collect(
            public_address(config.dataset.archive),
            manifest.label_names,
            total,
            measured,
            pairs,
            labels,
            unusual,
            config.gate.min_accuracy,
        )
        encoded = _encoded(files, page.shown_images(findings))
    rows = [
        Row(
            id=measured.ids[one.image],
            split=str(measured.splits[one.image]),
            label=manifest.label_names[measured.labels[one.image]],
            suggested=one.suggested,
            reason=one.reason,
        )
        for one in suggestions(manifest.label_names, measured, pairs, labels, unusual, REMOVE)
    ]
    contents = {
        PAGE: page.render(config.name, findings, measured, labels, encoded),
        TABLE: corrections_text(rows),
        FINDINGS: findings.model_dump_json(indent=2),
    }
    for file, text in contents.items():
        with whole_file(folder / file) as temporary:
            temporary.write_text(text, "utf-8")
    return Checked(findings, folder)


def _blocks(config: Config, backbone: Backbone, early: str) -> list[str]:
    """Returns the blocks whose features are looked at: early, last frozen and last one."""
    names = [block.name for block in backbone.blocks]
    first = config.backbone.trainable_from
    frozen = names if first == HEAD else names[: names.index(first)] if first != ALL else []
    return list(dict.fromkeys([early, *frozen[-1:], names[-1]]))


def _encoded(files: Mapping[str, list[Path]], wanted: set[str]) -> dict[str, bytes]:
    """Reads the bytes of chosen images, by id."""
    found = {}
    for path in itertools.chain.from_iterable(files.values()):
        for record in read_records(str(path)):
            feature = tf.train.Example.FromString(record).features.feature
            identity = feature[features.IMAGE_ID].bytes_list.value[0].decode("utf-8", "replace")
            if identity in wanted:
                found[identity] = feature[features.IMAGE_ENCODED].bytes_list.value[0]
    return found


def print_findings(checked: Checked, console: Console) -> None:
    """Prints a line for each kind of finding, and where the page is; fits 80 columns."""
    findings = checked.findings
    across = sum(group.across_test for group in findings.copies)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column(overflow="fold")

    def line(count: int, text: str, bad: bool) -> None:
        table.add_row(Text(f"{count:,}", style="bold red" if count and bad else "bold"), text)

    drawn = f", drawn from {findings.total:,}" if findings.total > findings.images else ""
    line(findings.images, f"images looked at{drawn}", bad=False)
    line(across, f"groups of copies in {features.TEST} and elsewhere", bad=True)
    line(
        len(findings.copies) - across,
        "groups of copies in one split, or train and validation",
        False,
    )
    if findings.label_block:
        line(findings.likely_wrong, "labels likely wrong", bad=True)
        line(len(findings.wrong_labels) - findings.likely_wrong, "labels possibly wrong", bad=False)
        line(len(findings.confused), "pairs of classes hard to tell apart", bad=True)
    else:
        table.add_row("–", "labels not examined: too few images of each class")
    for kind, ids in findings.unusual.items():
        line(len(ids), f"images {kind}", bad=False)
    console.print(table)
    precision = findings.precision
    console.print(
        f"\n{precision.images:,} test images measure an accuracy of {precision.bound:.1%} as "
        f"{precision.low:.1%} to {precision.high:.1%}.",
        highlight=False,
    )
    for note in findings.notes:
        console.print(Text.assemble(("!", "yellow"), " ", visible(note)))
    for file, what in ((PAGE, "page"), (TABLE, "to correct")):
        console.print(plain(f"{what}: {checked.folder / file}"), soft_wrap=True)
