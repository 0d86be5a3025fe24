"""TestPredictions, a TFX component: the exported models' answers to every test image.

Evaluator computes its metrics from them, so that the models run once for all that looks at them,
the last blessed model in the same pass, in batches that are bounded.
"""

import json
import time
from pathlib import Path
from typing import Final

import apache_beam as beam
import tensorflow as tf
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.ml.inference.base import RunInference
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from inception_finetune.components import features
from inception_finetune.components.beam.example_shards import (
    CountExamples,
    ShardFile,
    SplitIntoRanges,
    read_range,
    shard_files,
)
from inception_finetune.components.beam.watched import expect, watched
from inception_finetune.components.evaluation.label_names import (
    places,
    read_label_names,
    why_incomparable,
)
from inception_finetune.components.peak_memory import begin_peak, peak_bytes
from inception_finetune.components.steps import Step
from inception_finetune.components.test_predictions.handler import ExportedModels
from inception_finetune.components.test_predictions.settings import PredictionSettings
from inception_finetune.components.test_predictions.store import encode

MEASURED: Final = "measured.json"  # beside the splits: what the pass cost, what it left out


@component(use_beam=True)
def TestPredictions(  # noqa: N802 - TFX component names are classes' names
    examples: InputArtifact[standard_artifacts.Examples],
    model: InputArtifact[standard_artifacts.Model],
    predictions: OutputArtifact[standard_artifacts.Examples],
    settings: Parameter[str],
    baseline_model: InputArtifact[standard_artifacts.Model] = None,
    incomparable_model: InputArtifact[standard_artifacts.Model] = None,
    pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Runs the serving signature of `model`, and of `baseline_model` if there is one.

    What `baseline_model` answers is put into the order of `model`'s classes, by their names.
    `incomparable_model` has other classes: it is not asked, and that is written down.
    `settings` is a `PredictionSettings` as JSON.

    Raises:
      UserError: an image is damaged.
    """
    chosen = PredictionSettings.model_validate_json(settings)
    candidate = path_utils.serving_model_path(model.uri)
    directories, orders = {features.CANDIDATE: candidate}, {}
    if baseline_model is not None:
        baseline = path_utils.serving_model_path(baseline_model.uri)
        directories[features.BASELINE] = baseline
        names, others = (read_label_names(Path(directory)) for directory in directories.values())
        orders[features.BASELINE] = places(names, others)
    not_compared = None
    if incomparable_model is not None:
        other = path_utils.serving_model_path(incomparable_model.uri)
        not_compared = why_incomparable(Path(candidate), Path(other))
    predictions.split_names = artifact_utils.encode_split_names([features.TEST])
    target = artifact_utils.get_split_uri([predictions], features.TEST)
    files = shard_files(artifact_utils.get_split_uri([examples], features.TEST), features.TEST)
    begin_peak()
    started = time.monotonic()
    with watched(pipeline, Step.TEST_PREDICTIONS, "images"), pipeline as root:
        _ = (
            root
            | "Count" >> CountExamples(files)
            | "Expect" >> beam.Map(_expected)
            | "Cut" >> SplitIntoRanges(len(files))
            | "Read" >> beam.FlatMap(read_range)
            | "Records" >> beam.Values()
            | "Predict" >> RunInference(ExportedModels(directories, chosen, orders))
            | "Encode" >> beam.Map(encode)
            | "Write"
            >> beam.io.WriteToTFRecord(
                f"{target}/predictions",
                file_name_suffix=".gz",
                compression_type=CompressionTypes.GZIP,
            )
        )
    measured = {
        "models": len(directories),
        "seconds": time.monotonic() - started,
        # Of this process, so of the inference where Beam runs in memory.
        "peak_memory_bytes": peak_bytes(),
        "not_compared": not_compared,
    }
    with tf.io.gfile.GFile(f"{predictions.uri}/{MEASURED}", "w") as file:
        file.write(json.dumps(measured))


def _expected(file_with_count: tuple[ShardFile, int]) -> tuple[ShardFile, int]:
    expect(file_with_count[1])
    return file_with_count
