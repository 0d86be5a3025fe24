"""``inception-finetune data``: fetch, look at, check and convert data sets."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from inception_finetune.components.errors import UserError
from inception_finetune.components.shown_text import plain
from inception_finetune.pipeline.cli.options import (
    ConfigOption,
    Overrides,
    Verbose,
    load,
    load_tensorflow,
    split_overrides,
)
from inception_finetune.pipeline.quiet import set_up_environment

if TYPE_CHECKING:
    from inception_finetune.components.dataset.layout import Layout
    from inception_finetune.pipeline.config import Config

app = typer.Typer(help="Fetch, look at, check and convert data sets.", no_args_is_help=True)


@app.command()
def fetch(config: ConfigOption = "cifar10", overrides: Overrides = None):
    """Fetch the archive and verify it. Print where it lies."""
    settings = load(config, overrides)
    from inception_finetune.pipeline import data_set

    print(data_set.fetch_archive(settings))


@app.command()
def show(
    config: ConfigOption = "digits",
    overrides: Overrides = None,
    sample: Annotated[
        list[str] | None,
        typer.Option(help="BATCH:INDEX, or SPLIT:INDEX, of an image to show; repeatable."),
    ] = None,
    picture: Annotated[Path, typer.Option(help="Where the picture grid goes.")] = Path(
        "build/samples.png"
    ),
    augmented: Annotated[
        Path | None, typer.Option(help="Also draw images in views that training takes, here.")
    ] = None,
):
    """Show what is in the data set: batches or splits, labels, oddities, and a picture grid."""
    settings = load(config, overrides)
    samples = [_parse_sample(text) for text in sample or ()]
    found = _fetch(settings)
    from inception_finetune.components.dataset import grid, show
    from inception_finetune.pipeline import data_set

    loaded = data_set.read_source(found, settings.dataset.policy)
    if not samples:
        first = show.group_names(loaded)[0]
        samples = [(first, min(5, int((loaded.groups == first).sum()) - 1))]
    described = show.describe_samples(loaded, samples)
    console = Console()
    show.print_summary(show.summarize(loaded), console)
    show.print_samples(described, console)
    grid.draw_grid(loaded, picture, samples=samples, seed=settings.dataset.seed)
    console.print(plain(f"pictures: {picture}"), soft_wrap=True)
    if augmented is not None:
        load_tensorflow(verbose=False)
        from inception_finetune.components.dataset.view_samples import draw_views

        draw_views(loaded, augmented, settings.image, seed=settings.dataset.seed)
        console.print(plain(f"views: {augmented}"), soft_wrap=True)


@app.command()
def convert(
    directory: Annotated[Path, typer.Argument(help="Folder that the TFRecord shards go to.")],
    config: ConfigOption = "digits",
    overrides: Overrides = None,
):
    """Convert the archive, folder or list of pictures to TFRecord shards, and labels.txt."""
    settings = load(config, overrides)
    if settings.dataset.spans:
        load_tensorflow(verbose=False)
        found = None
    else:
        found = _fetch(settings)
    from inception_finetune.pipeline import data_set
    from inception_finetune.pipeline.locks import pipeline_lock

    # Stored spans lie in the root, where a run reads and `data forget` removes them.
    with pipeline_lock(Path(settings.root)) if settings.dataset.spans else nullcontext():
        manifest = data_set.convert_dataset(settings, directory, found)
    counts = ", ".join(f"{count} {split}" for split, count in manifest.counts.items())
    print(f"{directory}: {counts}")


@app.command()
def check(
    config: ConfigOption = "digits",
    overrides: Overrides = None,
    save: Annotated[
        Path | None,
        typer.Option(help="Folder for page, corrections and findings; default: ROOT/data-check."),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=100, help="Images that are looked at, at most.")
    ] = 50_000,
    verbose: Verbose = False,
):
    """Look for copies, wrong labels and unusual images before anything is trained."""
    settings = load(config, overrides)
    load_tensorflow(verbose)
    from inception_finetune.pipeline.data_check import check_data_set, print_findings

    print_findings(check_data_set(settings, save, sample), Console())


@app.command()
def forget(
    spans: Annotated[
        list[str],
        typer.Argument(
            metavar="SPAN... [KEY=VALUE]...", help="Dates or numbers, as ids begin; overrides."
        ),
    ],
    config: ConfigOption = "digits",
    verbose: Verbose = False,
):
    """Remove all that is stored of spans and made of their pictures; never read them again."""
    names, overrides = split_overrides(spans)
    settings = load(config, overrides)
    if not names:
        raise UserError("No span is named. Give one or more, such as 2026-11-28.")
    load_tensorflow(verbose)
    from inception_finetune.pipeline.history.forget import forget as forget_spans
    from inception_finetune.pipeline.history.forget import print_forgotten

    print_forgotten(forget_spans(settings, names), names, Console())


def _fetch(settings: "Config") -> "Layout":
    """What the data set is, once it lies here; TensorFlow is loaded where it is to decode it."""
    from inception_finetune.pipeline import data_set

    set_up_environment(verbose=False)
    found = data_set.find_layout(settings)
    if found.kind != "cifar":
        load_tensorflow(verbose=False)
    return found


def _parse_sample(text: str) -> tuple[str, int]:
    batch, _, index = text.rpartition(":")
    if not batch or not index.isdecimal():
        raise UserError(
            f"--sample {text!r} names no picture. Give BATCH:INDEX, such as data_batch_1:5."
        )
    return batch, int(index)
