"""What `check-data` does: new images against those that the pipeline was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from inception_finetune.components import features
from inception_finetune.components.drift import pictures, records, schema_check
from inception_finetune.components.drift.look import TESTS
from inception_finetune.components.drift.settings import Drift
from inception_finetune.components.drift.two_sample import Distance, maximum_mean_discrepancy
from inception_finetune.components.evaluation.label_names import read_label_names
from inception_finetune.components.progress import progress
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.drift import new_examples
from inception_finetune.pipeline.failure import as_user_error
from inception_finetune.pipeline.history.outcome import latest_pushed
from inception_finetune.pipeline.history.runs import Run, read_latest_run
from inception_finetune.pipeline.local import in_memory_beam
from inception_finetune.trainer.embedding import Embedder, UnknownNetworkError


@dataclass(frozen=True)
class Statistic:
    """One number of each picture, over the sample of train pictures and of new ones."""

    name: str
    train: tuple[float, float]  # mean and standard deviation
    new: tuple[float, float]
    distance: Distance  # Kolmogorov-Smirnov


@dataclass(frozen=True)
class DataCheck:
    """How new pictures differ from those that a model was trained on."""

    label_names: tuple[str, ...]
    count: int  # new records
    sampled: int  # of them, looked at as pictures
    unreadable: int  # of the sampled
    schema: schema_check.SchemaCheck
    statistics: tuple[Statistic, ...]
    features: Distance | None  # None where they were not compared
    not_compared: str  # why the features were not; empty where they were
    reference: tuple[int, int]  # train and validation pictures that the new ones were compared with
    level: float  # a p-value below it is an alarm
    given: tuple[str, ...] = ()  # what is wrong with the data before anything is compared

    @property
    def changes(self) -> list[str]:
        """What changed, in words; empty where nothing did."""
        changes = [*self.given]
        changes += [f"{name}: {text}" for name, text in self.schema.anomalies]
        if self.unreadable:
            changes.append(f"{self.unreadable} of {self.sampled} pictures cannot be read")
        changes += [
            f"{statistic.name} {statistic.train[0]:.1f} -> {statistic.new[0]:.1f}"
            for statistic in self.statistics
            if statistic.distance.p < self.level
        ]
        if self.features and self.features.p < self.level:
            changes.append(f"features (p = {self.features.p:.2g})")
        return changes


def check_data(
    config: Config, places: Sequence[str], *, model: Path | None = None, labelled: bool = True
) -> DataCheck:
    """Compares the examples in `places` with those of the latest run.

    Labels and picture statistics are compared with the train split. What `model` (by default the
    newest pushed one, or else the latest run's) makes of the pictures is compared with the
    validation split: it may know the train pictures by heart, and unchanged new ones would look
    different to it.

    Args:
      config: of the pipeline, and of the comparison.
      places: TFRecord files, folders of them, or whatever `dataset.archive` may be.
      model: a pushed model's folder.
      labelled: whether the examples have labels.

    Raises:
      UserError: nothing was trained yet, or the examples cannot be read.
    """
    run = read_latest_run(config)
    directory = model or latest_pushed(config) or run.model_directory
    names = read_label_names(directory)
    with new_examples.as_records(config, places, names, labelled=labelled) as given:
        return _check(config, run, directory, given, labelled)


def _check(
    config: Config, run: Run, directory: Path, given: new_examples.NewExamples, labelled: bool
) -> DataCheck:
    files, settings = given.files, config.drift
    level = settings.false_alarm / TESTS
    with progress("Reading", total=None, unit="records") as advance:
        new = records.sample_records(files, settings.sample, settings.seed, advance)
        train, validation = (
            records.sample_records(_split_files(run, split), settings.sample, 0, advance)
            for split in (features.TRAIN, features.VALIDATION)
        )
    schema = _check_schema(run, files, settings, level, labelled)
    encoded = records.encoded_pictures(new.serialized)
    of_train = records.encoded_pictures(train.serialized)
    with progress("Measuring", len(encoded) + len(of_train), "pictures") as advance:
        measured = pictures.measure(encoded, advance)
        reference = pictures.measure(of_train, advance)
    readable = [one for one, whole in zip(encoded, measured.readable, strict=True) if whole]
    known = records.encoded_pictures(validation.serialized)
    distance, not_compared = _compare_features(directory, known, readable, settings)
    return DataCheck(
        label_names=read_label_names(directory),
        count=new.total,
        sampled=len(encoded),
        unreadable=len(encoded) - len(readable),
        schema=schema,
        statistics=_statistics(reference.statistics, measured.statistics),
        features=distance,
        not_compared=not_compared,
        reference=(len(reference.statistics), len(known)),
        level=level,
        given=tuple(given.changes),
    )


def _compare_features(
    model: Path, known: Sequence[bytes], new: Sequence[bytes], settings: Drift
) -> tuple[Distance | None, str]:
    """How far apart the model sees known and new pictures; else None, and why."""
    if len(new) < 2:
        return None, "fewer than two new pictures can be read"
    try:
        embedder = Embedder(model)
        with progress("Embedding", len(known) + len(new), "pictures") as advance:
            distance = maximum_mean_discrepancy(
                embedder.embed(known, advance),
                embedder.embed(new, advance),
                permutations=settings.permutations,
                seed=settings.seed,
            )
    except UnknownNetworkError as unknown:
        return None, str(unknown)
    return distance, ""


def _check_schema(
    run: Run, files: Sequence[str], settings: Drift, level: float, labelled: bool
) -> schema_check.SchemaCheck:
    import tensorflow_data_validation as tfdv

    schema = tfdv.load_schema_text(f"{run.uri('ImportSchemaGen', 'schema')}/schema.pbtxt")
    statistics = run.uri(Step.STATISTICS_GEN, "statistics")
    reference = tfdv.load_stats_binary(f"{statistics}/Split-{features.TRAIN}/FeatureStats.pb")
    schema = schema_check.given(schema, labelled=labelled)
    with as_user_error(), in_memory_beam():
        new = schema_check.statistics_of(files, schema)
    return schema_check.check_schema(new, reference, schema, settings, level)


def _statistics(
    train: npt.NDArray[np.float64], new: npt.NDArray[np.float64]
) -> tuple[Statistic, ...]:
    if not len(new):
        return ()
    return tuple(
        Statistic(
            name,
            (float(ours.mean()), float(ours.std())),
            (float(theirs.mean()), float(theirs.std())),
            Distance(*map(float, stats.ks_2samp(ours, theirs))),
        )
        for name, ours, theirs in zip(pictures.STATISTICS, train.T, new.T, strict=True)
    )


def _split_files(run: Run, split: str) -> list[str]:
    folder = Path(run.uri(Step.EXAMPLE_GEN, "examples")) / f"Split-{split}"
    return records.record_files([folder])
