"""Pictures that are drawn for TensorBoard, as ``[height, width, 3]`` uint8."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_NAMED = 25  # classes; with more of them, neither names nor numbers can be read


def confusion_matrix_picture(
    labels: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64], names: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """Shares of each true class; the numbers in the cells are counts.

    Args:
      labels, predictions: [N] ids into `names`.
    """
    from matplotlib.figure import Figure
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    ids = np.arange(len(names))
    counts = confusion_matrix(labels, predictions, labels=ids)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    named = len(names) <= _NAMED
    side = max(4.0, 0.55 * len(names)) if named else 10.0
    figure = Figure(figsize=(side + 1, side), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    shown = ConfusionMatrixDisplay(shares, display_labels=names if named else None)
    shown.plot(ax=axes, cmap="Blues", include_values=False, colorbar=True)
    shown.im_.set_clim(0, 1)
    axes.tick_params(axis="x", labelrotation=90)
    if named:
        for row, column in np.ndindex(counts.shape):
            if counts[row, column]:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, counts[row, column], ha="center", va="center", color=colour)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    return _pixels(figure)


def _pixels(figure) -> npt.NDArray[np.uint8]:
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))
