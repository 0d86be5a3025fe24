"""Pictures for TensorBoard, ``[height, width, 3]`` uint8 each."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from inception_finetune.components.figure import plain_figure

_NAMED = 25  # classes; with more of them, neither names nor numbers can be read


def confusion_matrix_picture(
    labels: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64], names: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """Draws a confusion matrix: colours are shares of each true class, numbers are counts.

    Args:
      labels: ``[N]`` int64, indices into `names`.
      predictions: ``[N]`` int64, indices into `names`.
      names: of all classes.
    """
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    ids = np.arange(len(names))
    counts = confusion_matrix(labels, predictions, labels=ids)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    named = len(names) <= _NAMED
    side = max(4.0, 0.55 * len(names)) if named else 10.0
    with plain_figure(figsize=(side + 1, side), dpi=100, layout="constrained") as figure:
        axes = figure.add_subplot()
        shown = ConfusionMatrixDisplay(shares, display_labels=names if named else None)
        shown.plot(ax=axes, cmap="Blues", include_values=False, colorbar=True)
        shown.im_.set_clim(0, 1)
        axes.tick_params(axis="x", labelrotation=90)
        if named:
            for row, column in np.ndindex(counts.shape):
                if counts[row, column]:
                    colour = "white" if shares[row, column] > 0.5 else "black"
                    axes.text(
                        column, row, counts[row, column], ha="center", va="center", color=colour
                    )
        else:
            axes.set_xticks([])
            axes.set_yticks([])
        return _pixels(figure)


def predictions_picture(
    images: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    predictions: npt.NDArray[np.int64],
    names: Sequence[str],
) -> npt.NDArray[np.uint8]:
    """Draws images with their true labels, and wrong predictions in red.

    Args:
      images: ``[N, S, S, 3]`` float32 in [-1, 1], as the network sees them.
      labels: ``[N]`` int64, indices into `names`.
      predictions: ``[N]`` int64, indices into `names`.
      names: of all classes.
    """
    columns = min(4, len(images))  # TensorBoard shows a picture 320 pixels wide
    rows = -(-len(images) // columns)
    # One mosaic with room for a title above each image: axes of their own take seconds.
    with plain_figure(figsize=(1.6 * columns, 2 * rows), dpi=100) as figure:
        axes = figure.add_axes(
            (0, 0, 1, 1), xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[]
        )
        axes.axis("off")
        for number, image in enumerate(_as_bytes(images)):
            row, column = divmod(number, columns)
            box = (column + 0.04, column + 0.96, row + 0.98, row + 0.25)
            axes.imshow(image, extent=box, aspect="auto", interpolation="nearest")
            truth, prediction = names[labels[number]], names[predictions[number]]
            right = truth == prediction
            title = truth if right else f"{prediction},\nnot {truth}"
            colour = "darkgreen" if right else "red"
            axes.text(column + 0.5, row + 0.22, title, fontsize=12, color=colour, ha="center")
        axes.set(xlim=(0, columns), ylim=(rows, 0))
        return _pixels(figure)


def thumbnails(images: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.uint8]:
    """Scales images down.

    Args:
      images: ``[N, S, S, 3]`` float32 in [-1, 1].
      side: of the thumbnails in pixels.

    Returns:
      ``[N, side, side, 3]`` uint8.
    """
    from PIL import Image

    return np.stack(
        [np.asarray(Image.fromarray(image).resize((side, side))) for image in _as_bytes(images)]
    )


def sprite(small: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Arranges thumbnails ``[N, side, side, 3]`` in one square, row by row."""
    side = small.shape[1]
    columns = int(np.ceil(np.sqrt(len(small))))
    square = np.zeros([columns * side, columns * side, 3], np.uint8)
    for number, thumbnail in enumerate(small):
        top, left = (side * part for part in divmod(number, columns))
        square[top : top + side, left : left + side] = thumbnail
    return square


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encodes ``[height, width, 3]`` uint8 as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _as_bytes(images: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def _pixels(figure) -> npt.NDArray[np.uint8]:
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))
