"""Checks with TFDV whether new records fit the curated schema and their labels occur as often."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from inception_finetune.components import features
from inception_finetune.components.dataset.class_counts import class_counts, counting_options
from inception_finetune.components.drift.settings import Drift
from inception_finetune.components.drift.two_sample import largest_chance_shift
from inception_finetune.components.io.marked_folder import scratch_folder


class Labels(NamedTuple):
    """Counts of labels in reference and new records, and how far they differ."""

    reference: npt.NDArray[np.int64]  # [classes] counts
    new: npt.NDArray[np.int64]  # [classes] counts; all 0 where the records have no labels
    shift: float  # of the class whose share moved most, in [0, 1]
    allowed: float  # what it may be


class SchemaCheck(NamedTuple):
    """Anomalies of new records, and the comparison of labels."""

    anomalies: tuple[tuple[str, str], ...]  # feature and what is wrong with it, in TFDV's words
    labels: Labels


# What a producer of records must give. All else is written by the conversion, which reads it off
# the pictures and overwrites what may be there; features of others are left alone.
_GIVEN: Final = (features.IMAGE_ENCODED, features.LABEL)


def statistics_of(
    files: Sequence[str], schema: schema_pb2.Schema
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Computes statistics as StatisticsGen does, of the features that `given` keeps.

    Args:
      files: TFRecord files.
      schema: the curated schema.
    """
    import tensorflow_data_validation as tfdv
    from tfx_bsl.public import tfxio

    source = tfxio.TFExampleBeamRecord(physical_format="inmem")
    options = counting_options(_classes(schema), schema)
    with scratch_folder("statistics-") as directory:
        target = str(directory / "statistics.pb")
        with beam.Pipeline() as pipeline:
            _ = (
                pipeline
                | beam.Create(list(files))
                | beam.io.ReadAllFromTFRecord()
                | beam.Map(_only_given)
                | source.BeamSource()
                | tfdv.GenerateStatistics(options)
                | tfdv.WriteStatisticsToBinaryFile(target)
            )
        return tfdv.load_stats_binary(target)


def given(schema: schema_pb2.Schema, *, labelled: bool = True) -> schema_pb2.Schema:
    """Reduces the curated schema to the part that new records are checked against.

    Args:
      schema: the curated schema.
      labelled: whether labels are required: records from production have none.
    """
    part = schema_pb2.Schema()
    part.CopyFrom(schema)
    del part.feature[:]
    part.feature.extend(feature for feature in schema.feature if feature.name in _GIVEN)
    if not labelled:
        label = _label_of(part)
        label.ClearField("presence")
        label.ClearField("shape")  # TFDV holds what has a shape to be always there
    return part


def check_schema(
    new: statistics_pb2.DatasetFeatureStatisticsList,
    reference: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    settings: Drift,
    level: float,
) -> SchemaCheck:
    """Finds anomalies of new records, including a shift of their labels.

    The shift is TFDV's L-infinity distance. Allowed is what chance makes of samples of this size,
    but for a share of `level` of all cases, or `settings.label_shift` if that is more.

    Args:
      new: statistics of the new records.
      reference: statistics of the train split.
      schema: as `given` returns it.
      settings: of the comparison.
      level: rate of false alarms of this test.
    """
    import tensorflow_data_validation as tfdv

    checked = schema_pb2.Schema()
    checked.CopyFrom(schema)
    label, classes = _label_of(checked), _classes(checked)
    counts = class_counts(reference.datasets[0], classes), class_counts(new.datasets[0], classes)
    allowed = settings.label_shift
    if counts[1].sum():
        chance = largest_chance_shift(
            *counts, level=level, permutations=settings.permutations, seed=settings.seed
        )
        allowed = max(allowed, chance)
        label.drift_comparator.infinity_norm.threshold = allowed
    anomalies_proto = tfdv.validate_statistics(new, checked, previous_statistics=reference)
    anomalies = tuple(
        (name, reason.description)
        for name, anomaly in sorted(anomalies_proto.anomaly_info.items())
        for reason in anomaly.reason
    )
    shifts = [
        measurement.value
        for info in anomalies_proto.drift_skew_info
        if list(info.path.step) == [features.LABEL]
        for measurement in info.drift_measurements
    ]
    return SchemaCheck(anomalies, Labels(*counts, max(shifts, default=0.0), allowed))


def _only_given(serialized: bytes) -> bytes:
    """Reduces a record to the features `_GIVEN`."""
    source_features = tf.train.Example.FromString(serialized).features.feature
    reduced = tf.train.Example()
    for key in _GIVEN:
        if key in source_features:
            reduced.features.feature[key].CopyFrom(source_features[key])
    return bytes(reduced.SerializeToString())


def _label_of(schema: schema_pb2.Schema) -> schema_pb2.Feature:
    return next(feature for feature in schema.feature if feature.name == features.LABEL)


def _classes(schema: schema_pb2.Schema) -> int:
    return int(_label_of(schema).int_domain.max) + 1
