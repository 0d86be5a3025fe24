"""Predictions as a picture: each image with its label, the truth and the likeliest classes."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from inception_finetune.components.dataset.grid import save_figure, show_image
from inception_finetune.components.errors import UserError
from inception_finetune.components.figure import plain_figure
from inception_finetune.components.image.decoding_without_tensorflow import (
    UnreadablePictureError,
    decode,
)
from inception_finetune.components.shown_text import visible
from inception_finetune.pipeline.prediction.predict import Prediction, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS: Final = 4
_CLASSES: Final = 5  # bars beside a picture
_CELL: Final = (3.1, 1.6)  # inches
_HEAD: Final = 0.5  # inches
_DOTS_PER_INCH: Final = 110
_RIGHT, _WRONG, _OPEN, _OTHER = "#1b7837", "#c51b1b", "#2166ac", "#c8c8c8"
_LEAST: Final = 0.005  # a smaller share is no bar
_LONGEST: Final = 13  # characters of a label's name beside its bar


def draw_predictions(summary: Summary, target: Path) -> int:
    """Draws the kept predictions as a PNG: mistakes first, then what the model was least sure of.

    Args:
      summary: of all predictions.
      target: the PNG.

    Returns:
      How many were drawn.

    Raises:
      UserError: none of the pictures could be read, or `target` cannot be written.
    """
    shown = summary.kept
    if not shown:
        raise UserError(f"No picture could be read, so {target} is not written. Check the files.")
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    width, height = _CELL[0] * columns, _CELL[1] * rows + _HEAD
    size = (width, height)
    with plain_figure(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained") as figure:
        figure.suptitle(f"{_headline(summary)}\n", x=0.01, ha="left", fontsize=11, weight="bold")
        grid = figure.subplots(
            rows, 2 * columns, squeeze=False, gridspec_kw={"width_ratios": [1.15, 1] * columns}
        )
        for axes in grid.flat:
            axes.set_axis_off()
        for index, prediction in enumerate(shown):
            row, column = divmod(index, columns)
            _draw(prediction, *grid[row, 2 * column : 2 * column + 2])
        save_figure(figure, target)
    return len(shown)


def _headline(summary: Summary) -> str:
    parts = [f"{summary.total:,} pictures"]
    if summary.right_line:
        parts.append(summary.right_line)
    if summary.unread:
        parts.append(f"{summary.unread:,} not read")
    if len(summary.kept) < summary.total - summary.unread:
        parts.append(f"{len(summary.kept)} shown, mistakes and doubts first")
    return ", ".join(parts)


def _ranked(prediction: Prediction) -> list[tuple[str, float]]:
    """The likeliest classes as far as a bar can be seen, and the true one in any case."""
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    likeliest = [item for item in ranked[:_CLASSES] if item[1] >= _LEAST]
    truth = [item for item in ranked if item[0] == prediction.picture.truth]
    if truth and truth[0] not in likeliest:
        likeliest = [*likeliest[: _CLASSES - 1], truth[0]]
    return likeliest


def _draw(prediction: Prediction, picture: "Axes", bars: "Axes") -> None:
    colour = {True: _RIGHT, False: _WRONG, None: _OPEN}[prediction.right]
    picture.set_axis_on()
    try:
        show_image(picture, decode(prediction.picture.encoded))  # as the model sees it
    except UnreadablePictureError:  # a model of an older version may take more
        show_image(picture, np.full([1, 1, 3], 255, np.uint8))
        picture.text(0, 0, "not shown", ha="center", va="center", fontsize=8)
    title = prediction.label_name
    if prediction.right is False:
        title = f"{title}, not {prediction.picture.truth}"
    picture.set_title(visible(title), fontsize=10, color=colour, fontweight="bold")
    name = visible(Path(prediction.picture.name).name)
    picture.set_xlabel(name if len(name) <= 24 else f"…{name[-23:]}", fontsize=7, color="#555555")

    ranked = _ranked(prediction)
    names, shares = zip(*ranked, strict=True)
    colours = [
        colour
        if label == prediction.label_name
        else _RIGHT
        if label == prediction.picture.truth
        else _OTHER
        for label in names
    ]
    bars.barh(range(len(names)), shares, color=colours, height=0.35)
    for place, (label, share) in enumerate(ranked):
        label = visible(label)
        text = label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"
        bars.text(0, place - 0.28, f"{text} {share:.2f}", fontsize=7.5, va="bottom")
    bars.set(xlim=(0, 1), ylim=(_CLASSES - 0.5, -0.9))
