"""TFDV's part: do new records fit the curated schema, and do their labels occur as often?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tfx  # noqa: F401 - gives TFDV a module that it imports and tfx-bsl no longer has
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components import features
from components.drift.two_sample import largest_chance_shift
from components.settings import Drift


class Labels(NamedTuple):
    reference: npt.NDArray[np.int64]  # [classes] counts
    new: npt.NDArray[np.int64]  # [classes] counts; all 0 where the records have no labels
    shift: float  # of the class whose share moved most, in [0, 1]
    allowed: float  # what it may be


class SchemaCheck(NamedTuple):
    anomalies: tuple[tuple[str, str], ...]  # feature and what is wrong with it, in TFDV's words
    labels: Labels


def statistics_of(
    files: Sequence[str], schema: schema_pb2.Schema
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """As StatisticsGen makes them of a split."""
    import tensorflow_data_validation as tfdv

    return tfdv.generate_statistics_from_tfrecord(
        list(files), stats_options=tfdv.StatsOptions(schema=schema)
    )


def check_schema(
    new: statistics_pb2.DatasetFeatureStatisticsList,
    reference: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    settings: Drift,
    level: float,
) -> SchemaCheck:
    """Anomalies of `new`, a shift of its labels against `reference` among them.

    The shift is TFDV's L-infinity distance. It may be what chance makes of samples of this size,
    but for a share of `level` of all cases, or what `settings` say is too little to matter.
    """
    import tensorflow_data_validation as tfdv

    checked = schema_pb2.Schema()
    checked.CopyFrom(schema)
    by_name = {feature.name: feature for feature in checked.feature}
    label = by_name[features.LABEL]
    classes = label.int_domain.max + 1
    counts = _label_counts(reference, classes), _label_counts(new, classes)
    allowed = settings.label_shift
    if counts[1].sum():
        chance = largest_chance_shift(
            *counts, level=level, permutations=settings.permutations, seed=settings.seed
        )
        allowed = max(allowed, chance)
        label.drift_comparator.infinity_norm.threshold = allowed
    found = tfdv.validate_statistics(new, checked, previous_statistics=reference)
    anomalies = tuple(
        (name, reason.description)
        for name, anomaly in sorted(found.anomaly_info.items())
        for reason in anomaly.reason
    )
    shifts = [
        measured.value
        for info in found.drift_skew_info
        if list(info.path.step) == [features.LABEL]
        for measured in info.drift_measurements
    ]
    return SchemaCheck(anomalies, Labels(*counts, max(shifts, default=0.0), allowed))


def without_labels(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """What records from production must be, which nobody has labelled."""
    kept = schema_pb2.Schema()
    kept.CopyFrom(schema)
    label = next(feature for feature in kept.feature if feature.name == features.LABEL)
    label.ClearField("presence")
    label.ClearField("shape")  # TFDV holds what has a shape to be always there
    return kept


def _label_counts(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, classes: int
) -> npt.NDArray[np.int64]:
    """[classes]; labels outside are an anomaly of their own and not counted here."""
    counts = np.zeros(classes, np.int64)
    for feature in statistics.datasets[0].features:
        if list(feature.path.step) == [features.LABEL]:
            for bucket in feature.string_stats.rank_histogram.buckets:
                if 0 <= int(bucket.label) < classes:
                    counts[int(bucket.label)] = round(bucket.sample_count)
    return counts
