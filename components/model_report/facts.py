"""All that the page and the card say, as one object: ``facts.json``."""

import datetime
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy import special
from tensorflow_metadata.proto.v0 import statistics_pb2

from inception_finetune.components import features
from inception_finetune.components.anomaly_gate.component import read_anomalies
from inception_finetune.components.dataset.class_counts import class_counts
from inception_finetune.components.evaluation import measures
from inception_finetune.components.evaluation.confidence import FittedConfidence, prediction_sets
from inception_finetune.components.evaluation.label_names import listed
from inception_finetune.components.evaluation.slices import Slice
from inception_finetune.components.evaluation.verdict import Verdict
from inception_finetune.components.export.record import ExportRecord
from inception_finetune.components.infra_validator.settings import ServerCheck
from inception_finetune.components.model_report.costs import StepCost
from inception_finetune.components.model_report.settings import PAIRS, ReportSettings
from inception_finetune.components.settings import Section
from inception_finetune.components.test_predictions.store import Predictions
from inception_finetune.components.warm_start.start import Start

_SMALLEST: Final = float(np.finfo(np.float32).tiny)  # for the logarithm of a probability


class SplitFacts(Section):
    """What one split holds."""

    images: int
    class_counts: tuple[int, ...]  # by label id
    mean_bytes: float  # of an encoded picture
    height: tuple[int, int]  # pixels, smallest and largest
    width: tuple[int, int]


class Data(Section):
    """The data set, as StatisticsGen and ExampleValidator describe it."""

    splits: dict[str, SplitFacts]
    anomalies: tuple[str, ...]


class Lineage(Section):
    """What the model was made of."""

    archive: str
    dataset_fingerprint: str
    backbone: str
    backbone_fingerprint: str
    code_revision: str | None
    python: str
    packages: dict[str, str]
    config: dict[str, Any]
    artifacts: dict[str, str]  # input of the report -> where it lies
    spans: dict[str, int] = {}  # of a window: number of pictures of each span, oldest first

    @property
    def window(self) -> str | None:
        """Which spans the data are; None where they are no window."""
        if not self.spans:
            return None
        oldest, *_, newest = [*self.spans, *self.spans]
        return f"{len(self.spans):,} spans, {oldest} to {newest}"


class Confidence(Section):
    """What the model says of its own answers, and what comes of it on the test pictures."""

    fitted: FittedConfidence
    before: measures.Calibration  # with a temperature of 1
    covered: measures.Accuracy | None  # pictures whose prediction set holds the truth
    set_size: float | None  # the mean number of classes in a set
    single: float | None  # share of the sets that hold one class
    unknown: measures.Accuracy | None  # pictures that are called unknown


class Facts(Section):
    """The content of the page and the card."""

    name: str
    created: str  # UTC, ISO 8601
    label_names: tuple[str, ...]
    verdict: Verdict
    accuracy: measures.Accuracy
    baseline: measures.Comparison | None  # with the last blessed model
    not_compared: str | None  # why not, where a model was blessed before
    test_use: int | None  # how many models were measured on these test pictures, with this one
    remarks: tuple[str, ...]  # on the verdict: what was not compared or tested, or may be chance
    most_frequent: float  # accuracy of always saying the class that is most frequent in train
    references: dict[str, float]
    classes: tuple[measures.ClassScores, ...]
    slices: tuple[Slice, ...]  # kinds of pictures
    confusion: tuple[measures.Confusion, ...]  # the most frequent first, at most PAIRS
    confused_pairs: int  # all of them
    calibration: measures.Calibration
    confidence: Confidence
    curves: tuple[dict[str, float], ...]  # a row for each epoch of training
    data: Data
    steps: tuple[StepCost, ...]
    peak_memory_bytes: int  # of the process that asked the models, TensorFlow included
    exports: ExportRecord | None  # None where the pipeline makes none
    lineage: Lineage
    server_check: ServerCheck | None = None  # None where there was none, as in older reports
    start: Start | None = None  # the model that the training started from; None: the backbone

    @property
    def test_use_sentence(self) -> str | None:
        """What the number of uses means; None where they are not counted."""
        if self.test_use is None:
            return None
        images = f"the {self.accuracy.images:,} test pictures"
        if self.test_use == 1:
            return f"No other model of this pipeline's root was measured on {images} before."
        return (
            f"{self.test_use:,} models of this pipeline's root were measured on {images} so far, "
            "this one included: the more are tried, the more the best of them owes to chance, "
            "which no test of one model shows; new pictures do."
        )


def collect(
    settings: ReportSettings,
    predictions: Predictions,
    *,
    fitted: FittedConfidence,
    slices: tuple[Slice, ...],
    verdict: Verdict,
    curves: Iterable[dict[str, float]],
    data: Data,
    not_compared: str | None,
    test_use: int | None,
    server_check: ServerCheck | None,
    steps: tuple[StepCost, ...],
    peak_memory_bytes: int,
    exports: ExportRecord | None,
    provenance: dict[str, Any],
    artifacts: dict[str, str],
    dataset_fingerprint: str,
    spans: dict[str, int],
    start: Start | None,
) -> Facts:
    """Measures the stored predictions, and collects what other steps wrote.

    Args:
      settings: of the report.
      predictions: of the candidate, and of the last blessed model where there is a comparable one.
      fitted: what was fitted to the candidate's answers.
      slices: accuracy on kinds of pictures.
      verdict: Evaluator's.
      curves: a row for each epoch of training.
      data: of the data set.
      not_compared: why there is no comparison though a model was blessed before.
      test_use: how many models were measured on these test pictures, where that is counted.
      server_check: what came of asking a real server, where one was asked.
      steps: their costs.
      peak_memory_bytes: of the process that ran the models.
      exports: what Export measured, where there is that step.
      provenance: what the Trainer recorded: revision, Python, packages.
      artifacts: where each step's artifact lies, by the step's name.
      dataset_fingerprint: sha256 of the data set's pictures, labels and names.
      spans: of a window, number of pictures of each span, oldest first.
      start: what the training started from, where that was an earlier model.

    Returns:
      What ``facts.json`` holds.
    """
    predicted = predictions.candidate.argmax(axis=1)
    hits = predicted == predictions.labels
    baseline = None
    if predictions.baseline is not None:
        baseline = measures.compare(hits, predictions.baseline.argmax(axis=1) == predictions.labels)
    names = settings.label_names
    classes = measures.class_scores(predictions.labels, predicted, names)
    confused = measures.confusions(predictions.labels, predicted)
    most_frequent = int(np.argmax(data.splits[features.TRAIN].class_counts))
    return Facts(
        name=settings.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        label_names=names,
        verdict=verdict,
        accuracy=measures.accuracy(hits),
        baseline=baseline,
        not_compared=not_compared,
        test_use=test_use,
        remarks=tuple(_remarks(verdict, baseline, not_compared, classes)),
        most_frequent=float((predictions.labels == most_frequent).mean()),
        references=settings.report.references,
        classes=classes,
        slices=slices,
        confusion=confused[:PAIRS],
        confused_pairs=len(confused),
        calibration=measures.calibration(predictions.candidate.max(axis=1), hits),
        confidence=confidence(fitted, predictions, hits),
        curves=tuple(curves),
        data=data,
        steps=steps,
        peak_memory_bytes=peak_memory_bytes,
        server_check=server_check,
        exports=exports,
        lineage=Lineage(
            archive=settings.config["dataset"]["archive"],
            dataset_fingerprint=dataset_fingerprint,
            backbone=settings.config["backbone"]["handle"],
            backbone_fingerprint=settings.backbone_fingerprint,
            code_revision=provenance["git_revision"],
            python=provenance["python"],
            packages=provenance["packages"],
            config=settings.config,
            artifacts=artifacts,
            spans=spans,
        ),
        start=start,
    )


def confidence(
    fitted: FittedConfidence, predictions: Predictions, hits: npt.NDArray[np.bool_]
) -> Confidence:
    """Measures what was fitted on validation pictures on the test pictures.

    Args:
      fitted: to the candidate's answers.
      predictions: the candidate's.
      hits: ``[N]``, which of them are right.
    """
    shares = predictions.candidate
    # The temperature taken back: probabilities are a softmax of logits over it.
    before = special.softmax(np.log(np.maximum(shares, _SMALLEST)) * fitted.temperature, axis=1)
    covered = size = single = None
    if fitted.smallest_in_set is not None:
        sets = prediction_sets(shares, fitted.smallest_in_set)
        covered = measures.accuracy(sets[np.arange(len(sets)), predictions.labels])
        sizes = sets.sum(axis=1)
        size, single = float(sizes.mean()), float((sizes == 1).mean())
    return Confidence(
        fitted=fitted,
        before=measures.calibration(before.max(axis=1), hits),
        covered=covered,
        set_size=size,
        single=single,
        unknown=None if predictions.unknown is None else measures.accuracy(predictions.unknown),
    )


def _remarks(
    verdict: Verdict,
    baseline: measures.Comparison | None,
    not_compared: str | None,
    classes: Iterable[measures.ClassScores],
) -> Iterator[str]:
    if not_compared:
        yield f"not compared: {not_compared}"
    if chance := verdict.chance(baseline):
        yield chance
    if untested := [row.name for row in classes if not row.images]:
        yield f"no test picture: {listed(untested)}"


def read_data(statistics_uri: str, anomalies_uri: str, classes: int) -> Data:
    """From what StatisticsGen and ExampleValidator wrote."""
    splits = {split: _split_facts(statistics_uri, split, classes) for split in features.SPLITS}
    anomalies = (
        f"{split}: {feature}: {description}"
        for split in features.SPLITS
        for feature, description in read_anomalies(anomalies_uri, split).items()
    )
    return Data(splits=splits, anomalies=tuple(anomalies))


def read_json(path: str) -> Any:
    """The content of a JSON file, which may lie in an object store."""
    with tf.io.gfile.GFile(path) as file:
        return json.load(io.StringIO(file.read()))


def _split_facts(uri: str, split: str, classes: int) -> SplitFacts:
    with tf.io.gfile.GFile(f"{uri}/Split-{split}/FeatureStats.pb", "rb") as file:
        [dataset] = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read()).datasets
    by_name = {".".join(feature.path.step): feature for feature in dataset.features}
    return SplitFacts(
        images=dataset.num_examples,
        class_counts=tuple(class_counts(dataset, classes).tolist()),
        mean_bytes=by_name[features.IMAGE_ENCODED].bytes_stats.avg_num_bytes,
        height=_range(by_name[features.IMAGE_HEIGHT]),
        width=_range(by_name[features.IMAGE_WIDTH]),
    )


def _range(feature: statistics_pb2.FeatureNameStatistics) -> tuple[int, int]:
    return int(feature.num_stats.min), int(feature.num_stats.max)
