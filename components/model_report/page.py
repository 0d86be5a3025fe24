"""One self-contained HTML page: template, charts and pictures put together."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import vl_convert
import yaml

from inception_finetune.components import features
from inception_finetune.components.evaluation.metrics import METRICS
from inception_finetune.components.evaluation.verdict import OVERALL
from inception_finetune.components.export.record import PUSHED_IN
from inception_finetune.components.image.heat_map import overlay_address
from inception_finetune.components.io.explanations import Explanation
from inception_finetune.components.model_report import charts, pictures
from inception_finetune.components.model_report.facts import Facts
from inception_finetune.components.model_report.settings import (
    CONFUSION,
    FACTS,
    LIKELIEST,
    MATRIX_CLASSES,
    PAIRS,
    THRESHOLDS,
    Report,
)
from inception_finetune.components.test_predictions.store import Predictions
from inception_finetune.components.web_page.environment import templates

_EXPORTS = "window.vegaEmbed = vegaEmbed;"  # what the page's own script needs of Vega's
_SHARES = 4  # decimals of the probabilities in the page


def render(
    facts: Facts,
    predictions: Predictions,
    examples_uri: str,
    report: Report,
    *,
    model_directory: Path | None = None,
) -> str:
    """The page as one HTML file that loads nothing from anywhere.

    Args:
      facts: what it shows.
      predictions: of the test images.
      examples_uri: the artifact that the test images are read from.
      report: how many pictures it shows, and how large.
      model_directory: folder of the model that explains its mistakes; None for no explanations.
    """
    choice = pictures.choose(predictions, report)
    shown = sorted(choice.all())
    sources = pictures.read_pictures(
        examples_uri, [predictions.ids[i] for i in shown], report.picture_size
    )
    confidences = predictions.candidate.max(axis=1)
    hits = predictions.candidate.argmax(axis=1) == predictions.labels
    mistakes = [predictions.ids[i] for i in shown if not hits[i]]
    maps = pictures.read_maps(examples_uri, mistakes, model_directory) if model_directory else {}
    whole = len(facts.label_names) <= MATRIX_CLASSES
    counted = zip(facts.classes, facts.data.splits[features.TRAIN].class_counts, strict=True)
    thresholds = sorted(
        facts.verdict.thresholds, key=lambda one: (one.slice != OVERALL, one.margin)
    )[:THRESHOLDS]
    return templates(__package__).get_template("report.html").render(
        facts=facts,
        metrics=METRICS.values(),
        config=yaml.safe_dump(facts.lineage.config, sort_keys=False),
        script=vl_convert.javascript_bundle(_EXPORTS),
        data={
            "labels": facts.label_names,
            "charts": charts.charts(facts, confidences, hits),
            "pictures": {i: _picture(predictions, i, sources, maps) for i in shown},
            "mistakes": choice.mistakes,
            "least_confident": choice.least_confident,
            "cells": {f"{cell[0]},{cell[1]}": images for cell, images in choice.cells.items()},
            "confusion": [[one.truth, one.predicted, one.images] for one in facts.confusion],
            "classes": [[row.images, row.predicted, row.correct, count] for row, count in counted],
            "whole": whole,
        },
        thresholds=thresholds,
        whole=whole,
        explained=_positions(maps.values()),
        limits={"pairs": PAIRS, "likeliest": LIKELIEST, "csv": CONFUSION, "facts": FACTS},
        pushed_in=PUSHED_IN,
    )  # fmt: skip


def _picture(predictions: Predictions, index: int, sources, maps) -> dict[str, Any]:
    identity, shares = predictions.ids[index], predictions.candidate[index]
    truth = int(predictions.labels[index])
    shown = np.argsort(-shares, kind="stable")[:LIKELIEST].tolist()
    if truth not in shown:
        shown.append(truth)
    return {
        "id": identity,
        "source": sources[identity],
        "truth": truth,
        "predicted": int(shares.argmax()),
        "map": _map(maps.get(identity)),
        "shares": [[int(i), round(float(shares[i]), _SHARES)] for i in shown],
    }


def _map(explanation: Explanation | None) -> dict[str, Any] | None:
    """What is laid over a picture; None where there is nothing to be said of it."""
    if explanation is None:
        return None
    return {
        "class": explanation.label_name,
        "source": overlay_address(explanation.map) if explanation.map.any() else None,
        "box": explanation.box.tolist(),
    }


def _positions(maps: Iterable[Explanation | None]) -> str:
    """The size of the maps in words; empty where there is none."""
    height, width = next((one.map.shape for one in maps if one), (0, 0))
    return f"{height} × {width}" if height else ""
