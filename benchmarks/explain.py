"""``python -m benchmarks.explain``: whether maps show what a model goes by.

A mark in a corner of all train pictures of one class is what a network learns to know the class by;
its maps of other pictures with the mark must lie there. And maps must depend on what was learned:
those of the same network with its weights shuffled must be others (Adebayo et al., "Sanity Checks
for Saliency Maps", 2018).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.data import Pictures, as_png, load_pictures, write_folders
from inception_finetune.components import features
from inception_finetune.components.io.explanations import Explanation, explain
from inception_finetune.components.io.pushed_model import PushedModel
from inception_finetune.pipeline.cli.options import load_tensorflow
from inception_finetune.pipeline.config import load_config

_MARKED: Final = 0  # the class whose train pictures have the mark
_SHARE: Final = 0.25  # of each side, that the mark takes
# Settings of a run that is made for this alone.
_RUN: Final = ("gate.min_accuracy=0", "infra.server=none", "image.views=[identity]")


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="KEY=VALUE settings.")] = None,
    config: Annotated[str, typer.Option(help="Preset or YAML file.")] = "cifar10",
    train: Annotated[int, typer.Option(help="Train pictures of each class.")] = 150,
    test: Annotated[int, typer.Option(help="Test pictures of each class.")] = 30,
    model: Annotated[
        Path | None,
        typer.Option(help="A pushed model whose weights are shuffled, instead of that trained."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Receives the pictures and the run.")] = Path(
        "build/explain"
    ),
) -> None:
    """Share of the maps on a planted mark, and what is left of maps where weights are shuffled."""
    load_tensorflow(False)
    from inception_finetune.pipeline import local

    chosen = load_config(config, overrides or ())
    pictures = _some(load_pictures(chosen), train, test)
    in_train = np.array([split == features.TRAIN for split in pictures.splits])
    planted = pictures.images.copy()
    for place in np.flatnonzero(in_train & (pictures.labels == _MARKED)):
        planted[place] = with_mark(planted[place])
    write_folders(pictures._replace(images=planted), folder / "pictures")
    run = [f"dataset.archive={folder / 'pictures'}", f"root={folder / 'run'}", *_RUN]
    outcome = local.run(load_config(config, [*(overrides or ()), *run]))
    assert outcome.pushed is not None
    pushed = PushedModel(Path(outcome.pushed))
    others = pictures.images[~in_train & (pictures.labels != _MARKED)]
    console = Console()
    console.print(_mark_table(pushed, others, pictures.label_names[_MARKED]))
    console.print(_shuffled_table(PushedModel(model) if model else pushed, others))


def _some(pictures: Pictures, train: int, test: int) -> Pictures:
    """The first pictures of each class in each split."""
    kept: list[int] = []
    for split, count in ((features.TRAIN, train), (features.TEST, test)):
        of_split = np.array([one == split for one in pictures.splits])
        for label in range(len(pictures.label_names)):
            kept += np.flatnonzero(of_split & (pictures.labels == label))[:count].tolist()
    return pictures._replace(
        images=pictures.images[kept],
        labels=pictures.labels[kept],
        splits=[pictures.splits[place] for place in kept],
    )


def with_mark(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Returns a copy with a chequered square in the lower right corner."""
    marked = picture.copy()
    rows, columns = (round(_SHARE * side) for side in picture.shape[:2])
    chequers = np.indices((rows, columns)).sum(axis=0) // max(rows // 4, 1) % 2
    marked[-rows:, -columns:] = np.where(chequers[..., np.newaxis], (255, 0, 255), (0, 255, 0))
    return marked


def share_on_mark(explanation: Explanation, side: int = 320) -> float:
    """Returns the share of a map's sum that lies on the mark, as the map is drawn.

    Args:
      explanation: of a picture; not all of its map is 0.
      side: pixels of the square that the map is stretched to for that.
    """
    top, left, bottom, right = np.round(side * explanation.box).astype(int).tolist()
    stretched = Image.fromarray(explanation.map).resize(
        (right - left, bottom - top), Image.Resampling.BILINEAR
    )
    whole = np.zeros([side, side])
    whole[top:bottom, left:right] = np.asarray(stretched)
    start = round((1 - _SHARE) * side)
    return float(whole[start:, start:].sum() / whole.sum())


def _explained(model: PushedModel, images: Iterable[npt.NDArray[np.uint8]]) -> list[Explanation]:
    encoded = [as_png(Image.fromarray(image)) for image in images]
    return [one for one in explain(model.loaded, model.directory, encoded) if one is not None]


def _mark_table(model: PushedModel, others: npt.NDArray[np.uint8], name: str) -> Table:
    before = _explained(model, others)
    after = _explained(model, [with_mark(image) for image in others])
    taken = [
        (clean, marked)
        for clean, marked in zip(before, after, strict=True)
        if marked.label_name == name and clean.label_name != name
    ]
    table = Table(
        title=f"{len(taken)} of {len(others)} pictures are taken for {name} once they have the "
        f"mark, which covers {_SHARE**2:.4f} of them; maps of {before[0].map.shape}"
    )
    for column in ("pictures", "share of the map on the mark, mean", "lowest tenth", "empty maps"):
        table.add_column(column, justify="left" if column == "pictures" else "right")
    for row, found in (("with the mark", [one for _, one in taken]), ("as they were", before)):
        shares = [share_on_mark(one) for one in found if one.map.any()]
        low = f"{np.quantile(shares, 0.1):.3f}" if shares else "–"
        mean = f"{np.mean(shares):.3f}" if shares else "–"
        table.add_row(row, mean, low, f"{len(found) - len(shares)}")
    return table


def _shuffled_table(model: PushedModel, images: npt.NDArray[np.uint8]) -> Table:
    """Rank correlations of maps before and after; the model is left shuffled."""
    before = _explained(model, images)
    variables: Any = model.loaded.network_variables
    parts = {
        "as it was": [],
        "head": [one for one in variables if one.name.startswith("logits/")],
        "all": list(variables),
    }
    table = Table(title=f"maps of {len(images)} pictures, weights shuffled within each variable")
    for column in ("shuffled", "variables", "rank correlation, mean", "standard deviation"):
        table.add_column(column, justify="left" if column == "shuffled" else "right")
    table.add_column("empty maps", justify="right")
    random = np.random.default_rng(0)
    for row, shuffled in parts.items():
        for variable in shuffled:
            values = random.permutation(variable.numpy().ravel())
            variable.assign(values.reshape(variable.shape))
        ranks = [
            float(stats.spearmanr(one.map.ravel(), two.map.ravel()).statistic)
            for one, two in zip(before, _explained(model, images), strict=True)
            if one.map.any() and two.map.any()
        ]
        mean, deviation = (f"{np.mean(ranks):.3f}", f"{np.std(ranks):.3f}") if ranks else ("–", "–")
        table.add_row(row, f"{len(shuffled)}", mean, deviation, f"{len(images) - len(ranks)}")
    return table


if __name__ == "__main__":
    typer.run(main)
