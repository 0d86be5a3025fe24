"""``python -m benchmarks.doctor``: what `data check` finds of faults that are planted.

In one data set, labels are changed; in another, altered copies of test pictures are put into train.
Both are written as folders of PNG and JPEG files, and looked at as a person's own would be.
"""

import io
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from PIL import Image, ImageEnhance, ImageOps
from rich.console import Console
from rich.table import Table

from benchmarks.data import as_png, load_pictures, write_folders
from inception_finetune.components import features
from inception_finetune.components.data_check.findings import Findings
from inception_finetune.pipeline.cli.options import load_tensorflow
from inception_finetune.pipeline.config import Config, load_config
from inception_finetune.pipeline.data_check import check_data_set

_ALL: Final = 1 << 30  # pictures that are looked at


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _cropped(picture: Image.Image, share: float) -> Image.Image:
    width, height = picture.size
    left, top = width * (1 - share) / 2, height * (1 - share) / 2
    box = (left, top, width - left, height - top)
    return picture.resize(picture.size, Image.Resampling.BICUBIC, box)


def _shifted(picture: Image.Image, pixels: int) -> Image.Image:
    """Moves it down and to the right; what comes in repeats the edge."""
    padded = np.pad(np.asarray(picture), ((pixels, 0), (pixels, 0), (0, 0)), mode="edge")
    return Image.fromarray(padded[: picture.height, : picture.width])


def _resized(picture: Image.Image, share: float) -> Image.Image:
    small = picture.resize([round(side * share) for side in picture.size])
    return small.resize(picture.size)


# A picture to the content of a file that shows the same.
ALTERATIONS: Final[Mapping[str, Callable[[Image.Image], bytes]]] = {
    "JPEG of quality 75": lambda one: _jpeg(one, 75),
    "JPEG of quality 40": lambda one: _jpeg(one, 40),
    "brightness × 1.2": lambda one: as_png(ImageEnhance.Brightness(one).enhance(1.2)),
    "size × 0.75 and back": lambda one: as_png(_resized(one, 0.75)),
    "crop of 90 %": lambda one: as_png(_cropped(one, 0.9)),
    "crop of 80 %": lambda one: as_png(_cropped(one, 0.8)),
    "shift by 2 pixels": lambda one: as_png(_shifted(one, 2)),
    "shift by 4 pixels": lambda one: as_png(_shifted(one, 4)),
    "mirrored": lambda one: as_png(ImageOps.mirror(one)),
}


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="KEY=VALUE settings.")] = None,
    config: Annotated[str, typer.Option(help="Preset or YAML file.")] = "cifar10",
    flipped: Annotated[float, typer.Option(help="Share of the labels that are changed.")] = 0.05,
    copies: Annotated[int, typer.Option(help="Altered copies of test pictures.")] = 400,
    folder: Annotated[Path, typer.Option(help="Receives the pictures and the findings.")] = Path(
        "build/doctor"
    ),
) -> None:
    """Precision and recall of `data check`, on faults that are planted in an archive's pictures."""
    load_tensorflow(False)
    chosen = load_config(config, [*(overrides or []), f"root={folder}"])
    pictures = load_pictures(chosen)
    console, random = Console(), np.random.default_rng(0)

    count = len(pictures.labels)
    changed = random.permutation(count)[: round(flipped * count)]
    labels = pictures.labels.copy()
    labels[changed] += random.integers(1, len(pictures.label_names), len(changed))
    labels %= len(pictures.label_names)
    names = write_folders(pictures._replace(labels=labels), folder / "labels")
    found = _check(chosen, folder / "labels")
    console.print(_labels_table(found, {names[place] for place in changed}))

    names = write_folders(pictures, folder / "copies")
    test = [place for place, split in enumerate(pictures.splits) if split == features.TEST]
    planted = {}
    for number, place in enumerate(random.permutation(test)[:copies]):
        name, alter = list(ALTERATIONS.items())[number % len(ALTERATIONS)]
        content = alter(Image.fromarray(pictures.images[place]))
        label = pictures.label_names[pictures.labels[place]]
        suffix = "jpg" if name.startswith("JPEG") else "png"
        path = folder / "copies" / features.TRAIN / label / f"planted-{number:04}.{suffix}"
        path.write_bytes(content)
        planted[f"{features.TRAIN}/{label}/{path.name}"] = (name, names[place])
    found = _check(chosen, folder / "copies")
    console.print(_copies_table(found, planted))


def _check(config: Config, folder: Path) -> Findings:
    dataset = config.dataset.model_copy(update={"archive": str(folder), "layout": "auto"})
    root = folder.with_name(f"{folder.name}-run")
    return check_data_set(
        config.model_copy(update={"dataset": dataset, "root": str(root)}), None, _ALL
    ).findings


def _labels_table(found: Findings, changed: set[str]) -> Table:
    table = Table(
        title=f"{len(changed):,} of {found.images:,} labels changed; judged by the features of "
        f"{found.label_block}, whose classifier is right on {found.label_accuracy or 0:.3f}"
    )
    for column in ("called wrong", "pictures", "precision", "recall"):
        table.add_column(column, justify="left" if column == "called wrong" else "right")
    for name, said in (
        ("likely", found.wrong_labels[: found.likely_wrong]),
        ("likely or possibly", found.wrong_labels),
    ):
        hits = len(changed.intersection(said))
        precision = hits / len(said) if said else float("nan")
        table.add_row(name, f"{len(said):,}", f"{precision:.3f}", f"{hits / len(changed):.3f}")
    return table


def _copies_table(found: Findings, planted: Mapping[str, tuple[str, str]]) -> Table:
    group_of = {
        member: number for number, group in enumerate(found.copies) for member in group.members
    }
    copies, hits = Counter[str](), Counter[str]()
    for copy, (alteration, original) in planted.items():
        copies[alteration] += 1
        hits[alteration] += copy in group_of and group_of[copy] == group_of.get(original)
    others = sum(not any(member in planted for member in group.members) for group in found.copies)
    table = Table(title=f"{len(planted):,} altered copies; {others:,} groups of other pictures")
    for column in ("alteration", "copies", "found"):
        table.add_column(column, justify="left" if column == "alteration" else "right")
    for alteration in ALTERATIONS:
        table.add_row(alteration, f"{copies[alteration]:,}", f"{hits[alteration]:,}")
    table.add_row("all", f"{copies.total():,}", f"{hits.total():,}", style="bold")
    return table


if __name__ == "__main__":
    typer.run(main)
