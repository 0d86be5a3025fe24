"""Accuracy of models on test pictures that were corrupted in fifteen ways, at three strengths."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.evaluation import measures
from inception_finetune.components.image.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from inception_finetune.components.progress import Advance
from inception_finetune.components.settings import Section

_BATCH: Final = 64  # pictures that a model is asked about at a time

# PNG files' content to the model's classes ``[N]`` int64, in the order of the first model's.
Model = Callable[[Sequence[bytes]], npt.NDArray[np.int64]]


class LabelledPicture(NamedTuple):
    """One whose class is known."""

    identity: str
    pixels: npt.NDArray[np.uint8]  # [H, W, 3]
    label: int


class Mean(Section):
    """A mean over pictures with its 95 % interval, by Student's t."""

    value: float
    low: float
    high: float


class Cell(Section):
    """One corruption at one strength."""

    corruption: str
    strength: int
    accuracy: measures.Accuracy
    compared: measures.Comparison | None  # with the other model, on the same pictures


class Robustness(Section):
    """What ``robustness.json`` holds."""

    name: str  # of the pipeline
    model: str  # its folder
    other: str | None  # folder of the model that it is compared with
    not_compared: str | None  # why there is none
    seed: int
    clean: measures.Accuracy
    clean_compared: measures.Comparison | None
    cells: tuple[Cell, ...]  # by corruption, then by strength
    mean: Mean  # accuracy over all cells
    mean_change: Mean | None  # of it, from the other model

    def rows(self) -> Iterator[tuple[str, tuple[Cell, ...]]]:
        """Yields each corruption with its cells, by strength."""
        for name in CORRUPTIONS:
            yield name, tuple(cell for cell in self.cells if cell.corruption == name)


def measure(
    pictures: Sequence[LabelledPicture],
    models: Sequence[Model],
    places: Mapping[str, str | None],
    *,
    seed: int,
    advance: Advance,
) -> Robustness:
    """Asks one or two models about the same pictures, as they are and corrupted.

    Args:
      pictures: at least two.
      models: that which is measured, and perhaps that which it is compared with.
      places: the facts ``name``, ``model``, ``other`` and ``not_compared`` of the result.
      seed: of the corruptions.
      advance: is called with the number of pictures that all models have answered.
    """
    labels = np.array([one.label for one in pictures])

    def hits(encoded: Iterator[bytes]) -> npt.NDArray[np.bool_]:
        """Which pictures each model gets right, ``[models, N]``."""
        found = []
        for start in range(0, len(pictures), _BATCH):
            truth = labels[start : start + _BATCH]
            batch = [next(encoded) for _ in truth]
            found.append(np.stack([model(batch) for model in models]) == truth)
            advance(len(batch))
        return np.concatenate(found, axis=1)

    clean = hits(encode_png(one.pixels) for one in pictures)
    by_cell = {
        (name, strength): hits(
            encode_png(corrupt(one.pixels, name, strength, seed=seed, identity=one.identity))
            for one in pictures
        )
        for name in CORRUPTIONS
        for strength in STRENGTHS
    }
    shares = np.mean(list(by_cell.values()), axis=0)  # [models, N], of the cells that are right
    return Robustness.model_validate(
        {
            **places,
            "seed": seed,
            "clean": measures.accuracy(clean[0]),
            "clean_compared": _compared(clean),
            "cells": tuple(
                Cell(
                    corruption=name,
                    strength=strength,
                    accuracy=measures.accuracy(found[0]),
                    compared=_compared(found),
                )
                for (name, strength), found in by_cell.items()
            ),
            "mean": _mean(shares[0], 0, 1),
            "mean_change": _mean(shares[0] - shares[1], -1, 1) if len(models) > 1 else None,
        }
    )


def _compared(hits: npt.NDArray[np.bool_]) -> measures.Comparison | None:
    return measures.compare(*hits) if len(hits) > 1 else None


def _mean(values: npt.NDArray[np.float64], least: float, most: float) -> Mean:
    """Of pictures, which are drawn; the corruptions are not."""
    mean, error = float(values.mean()), float(stats.sem(values))
    reach = error * float(stats.t.ppf((1 + measures.CONFIDENCE) / 2, len(values) - 1))
    return Mean(value=mean, low=max(mean - reach, least), high=min(mean + reach, most))
