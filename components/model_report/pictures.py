"""Which test images the page shows, and how: small copies inside the page."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.components.example_gen.stored import read_test_examples
from inception_finetune.components.image.decoding import decode
from inception_finetune.components.image.statistics import PictureStatistics, brightness_of
from inception_finetune.components.io.explanations import Explanation, can_explain, explain
from inception_finetune.components.io.exported_model import load_exported
from inception_finetune.components.model_report.settings import Report
from inception_finetune.components.test_predictions.store import Predictions
from inception_finetune.components.web_page.data_address import data_address

SHOWN = 24  # in the lists of mistakes and of hits


@dataclass(frozen=True)
class Choice:
    """Numbers of test images, all of them below `Report.pictures` in number."""

    mistakes: tuple[int, ...]  # wrong, the most confident first
    least_confident: tuple[int, ...]  # right, the least confident first
    cells: dict[tuple[int, int], tuple[int, ...]]  # (truth, prediction) -> most confident first

    def all(self) -> set[int]:
        """Every test image that is shown somewhere."""
        return {
            *self.mistakes,
            *self.least_confident,
            *(i for cell in self.cells.values() for i in cell),
        }


def choose(predictions: Predictions, report: Report) -> Choice:
    """Every cell of the confusion matrix gets its first picture before any gets its second.

    Mistakes come first, of them those of the fullest cells.
    """
    confidence = predictions.candidate.max(axis=1)
    predicted = predictions.candidate.argmax(axis=1)
    hits = predicted == predictions.labels
    falling = np.argsort(-confidence, kind="stable")
    mistakes = [int(i) for i in falling if not hits[i]][:SHOWN]
    least_confident = [int(i) for i in falling[::-1] if hits[i]][:SHOWN]
    room = max(0, report.pictures - len(mistakes) - len(least_confident))
    ranked = _ranked_in_cells(falling, predictions.labels, predicted, hits)
    kept = [i for rank, _, _, i in sorted(ranked) if rank < report.pictures_per_cell][:room]
    cells: dict[tuple[int, int], tuple[int, ...]] = {}
    for i in kept:
        cell = int(predictions.labels[i]), int(predicted[i])
        cells[cell] = (*cells.get(cell, ()), i)
    return Choice(
        tuple(mistakes[: report.pictures]), tuple(least_confident[: report.pictures]), cells
    )


def _ranked_in_cells(
    falling: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    hits: npt.NDArray[np.bool_],
) -> Iterator[tuple[int, bool, int, int]]:
    """(rank in its cell, whether it is a hit, minus images of its cell, image), to be sorted."""
    images = Counter(zip(labels.tolist(), predicted.tolist(), strict=True))
    ranks: dict[tuple[int, int], int] = {}
    for i in falling:
        cell = int(labels[i]), int(predicted[i])
        yield ranks.get(cell, 0), bool(hits[i]), -images[cell], int(i)
        ranks[cell] = ranks.get(cell, 0) + 1


def measure_pictures(uri: str, ids: Collection[str]) -> Mapping[str, tuple[PictureStatistics, str]]:
    """Statistics and file format of test pictures, by id.

    Args:
      uri: of the examples artifact.
      ids: of the images that are wanted; others are skipped.
    """
    found = {}
    for identity, feature in read_test_examples(uri, ids):
        [encoded] = feature[features.IMAGE_ENCODED].bytes_list.value
        [form] = feature[features.IMAGE_FORMAT].bytes_list.value
        grey = brightness_of(decode(tf.constant(encoded)).numpy())
        found[identity] = PictureStatistics.of(grey), form.decode()
    return found


def read_maps(
    uri: str, ids: Collection[str], model_directory: Path
) -> Mapping[str, Explanation | None]:
    """Where the model looks on test pictures, by their ids; none, if it does not say.

    Args:
      uri: of the examples artifact.
      ids: of the images that are wanted; others are skipped.
      model_directory: folder of the SavedModel.
    """
    if not ids:
        return {}
    model = load_exported(model_directory)
    if not can_explain(model):
        return {}
    encoded = {
        identity: feature[features.IMAGE_ENCODED].bytes_list.value[0]
        for identity, feature in read_test_examples(uri, ids)
    }
    found = explain(model, model_directory, list(encoded.values()))
    return dict(zip(encoded, found, strict=True))


def read_pictures(uri: str, ids: Collection[str], size: int) -> Mapping[str, str]:
    """`data:` addresses by image id, of pictures whose longest side is at most `size` pixels.

    Args:
      uri: of the examples artifact.
      ids: of the images that are wanted; others are skipped.
      size: in pixels.
    """
    found = {}
    for identity, feature in read_test_examples(uri, ids):
        [encoded] = feature[features.IMAGE_ENCODED].bytes_list.value
        found[identity] = data_address(encoded, size)
    return found
