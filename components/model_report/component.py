"""ModelReport, a TFX component: everything about a model on one page, and its model card."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.experimental.simple_artifacts import File
from tfx.utils import path_utils

from inception_finetune.components import features
from inception_finetune.components.evaluation import learning_curve, measures
from inception_finetune.components.evaluation.confidence import FittedConfidence
from inception_finetune.components.evaluation.slices import Slice, picture_slices
from inception_finetune.components.evaluation.verdict import read_verdict
from inception_finetune.components.export.record import read_record
from inception_finetune.components.infra_validator.settings import RESULT, ServerCheck
from inception_finetune.components.model_report import card, facts, page, pictures
from inception_finetune.components.model_report.costs import step_costs
from inception_finetune.components.model_report.settings import (
    CARD_JSON,
    CARD_MARKDOWN,
    CONFUSION,
    FACTS,
    MEASURED_PICTURES,
    PAGE,
    ReportSettings,
)
from inception_finetune.components.model_report.test_use import count_use
from inception_finetune.components.steps import Step
from inception_finetune.components.test_predictions.component import MEASURED
from inception_finetune.components.test_predictions.store import Predictions, read_predictions
from inception_finetune.components.warm_start.start import find_start


@component
def ModelReport(  # noqa: N802 - TFX component names are classes' names
    examples: InputArtifact[standard_artifacts.Examples],
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    transform_graph: InputArtifact[standard_artifacts.TransformGraph],
    model: InputArtifact[standard_artifacts.Model],
    model_run: InputArtifact[standard_artifacts.ModelRun],
    predictions: InputArtifact[standard_artifacts.Examples],
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation],
    model_report: OutputArtifact[File],
    settings: Parameter[str],
    trunk_features: InputArtifact[standard_artifacts.Examples] = None,
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing] = None,
    exports: InputArtifact[File] = None,
) -> None:
    """Reads what the steps before it wrote; asks the model only why it made the mistakes shown.

    `settings` is a `ReportSettings` as JSON.
    """
    chosen = ReportSettings.model_validate_json(settings)
    answers = read_predictions(predictions.uri)
    data = facts.read_data(statistics.uri, anomalies.uri, len(chosen.label_names))
    measured = facts.read_json(f"{predictions.uri}/{MEASURED}")
    made: dict[str, Any] = {
        Step.EXAMPLE_GEN: examples,
        Step.STATISTICS_GEN: statistics,
        Step.EXAMPLE_VALIDATOR: anomalies,
        Step.TRANSFORM: transform_graph,
        **({Step.TRUNK_FEATURES: trunk_features} if trunk_features else {}),
        Step.TRAINER: model,
        Step.TEST_PREDICTIONS: predictions,
        **({Step.EXPORT: exports} if exports else {}),
        Step.EVALUATOR: evaluation,
        **({Step.INFRA_VALIDATOR: infra_blessing} if infra_blessing else {}),
    }
    exported = path_utils.serving_model_path(model.uri)
    extra = f"{exported}/{features.EXTRA_ASSETS}"
    server_check = None
    if infra_blessing:
        found = facts.read_json(f"{infra_blessing.uri}/{RESULT}")
        server_check = ServerCheck.model_validate(found)
    curves = learning_curve.read_history(f"{model_run.uri}/{learning_curve.FILE}")
    steps = curves[-1]["step"] if curves else 0
    content = facts.collect(
        chosen,
        answers,
        fitted=FittedConfidence.model_validate(
            facts.read_json(f"{extra}/{features.CONFIDENCE_FILE}")
        ),
        slices=_slices(answers, examples.uri),
        verdict=read_verdict(evaluation.uri, chosen.label_names),
        curves=curves,
        data=data,
        not_compared=measured["not_compared"],
        server_check=server_check,
        test_use=count_use(chosen.metadata, examples.uri, model, model_report),
        steps=step_costs(
            chosen.metadata,
            made,
            _images(
                data,
                measured["models"],
                int(steps),
                chosen.config,
                trunk_features.get_int_custom_property(features.KNOWN_RECORDS)
                if trunk_features
                else 0,
            ),
        ),
        peak_memory_bytes=measured["peak_memory_bytes"],
        provenance=facts.read_json(f"{extra}/provenance.json"),
        exports=read_record(Path(exports.uri)) if exports else None,
        artifacts={name: artifact.uri for name, artifact in made.items()},
        dataset_fingerprint=examples.get_string_custom_property(features.DATASET_FINGERPRINT),
        spans=json.loads(examples.get_string_custom_property(features.SPANS) or "{}"),
        start=find_start(Path(exported)),
    )
    files = {
        FACTS: content.model_dump_json(indent=1),
        PAGE: page.render(
            content, answers, examples.uri, chosen.report, model_directory=Path(exported)
        ),
        CONFUSION: _confusion_csv(answers, chosen.label_names),
        CARD_JSON: card.as_json(content, chosen.report),
        CARD_MARKDOWN: card.as_markdown(content, chosen.report),
    }
    for name, text in files.items():
        with tf.io.gfile.GFile(f"{model_report.uri}/{name}", "w") as file:
            file.write(text)


def _slices(answers: Predictions, examples_uri: str) -> tuple[Slice, ...]:
    """Of the test images, or of as many as take seconds to decode, drawn at random."""
    count = len(answers.ids)
    drawn = np.sort(np.random.default_rng(0).permutation(count)[:MEASURED_PICTURES])
    ids = [answers.ids[place] for place in drawn]
    measured = pictures.measure_pictures(examples_uri, ids)
    found, formats = zip(*(measured[identity] for identity in ids), strict=True)
    hits = (answers.candidate.argmax(axis=1) == answers.labels)[drawn]
    return picture_slices(found, formats, hits)


def _confusion_csv(answers: Predictions, names: Sequence[str]) -> str:
    """Every confused pair: the page and the facts hold the most frequent ones alone."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("truth", "predicted", "images"))
    for one in measures.confusions(answers.labels, answers.candidate.argmax(axis=1)):
        table.writerow((names[one.truth], names[one.predicted], one.images))
    return text.getvalue()


def _images(
    data: facts.Data,
    models: int,
    training_steps: int,
    config: dict[str, Any],
    known_records: int,
) -> dict[str, int]:
    """That a step went through, an image in several views, epochs or models several times."""
    images = {split: found.images for split, found in data.splits.items()}
    views = len(config["image"]["views"]) + config["image"]["random_views"]
    return {
        Step.TRUNK_FEATURES: images[features.TRAIN] * views
        + images[features.VALIDATION]
        - known_records,
        Step.TRAINER: training_steps * config["training"]["batch_size"],
        Step.EXAMPLE_GEN: sum(images.values()),
        Step.STATISTICS_GEN: sum(images.values()),
        Step.TEST_PREDICTIONS: images[features.TEST] * models,
        Step.EVALUATOR: images[features.TEST],
    }
