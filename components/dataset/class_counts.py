"""Number of examples of each class, from TFDV's statistics."""

import numpy as np
import numpy.typing as npt
import tfx  # noqa: F401 - gives TFDV a module that it imports and tfx-bsl no longer has
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from inception_finetune.components import features
from inception_finetune.components.errors import UserError

_LEAST = 1000  # values that are counted each; TFDV's own default


def counting_options(classes: int, schema: schema_pb2.Schema | None = None):
    """Returns `tfdv.StatsOptions` that count every one of `classes` labels.

    Args:
      classes: number of classes.
      schema: passed on to TFDV.
    """
    import tensorflow_data_validation as tfdv

    return tfdv.StatsOptions(schema=schema, num_rank_histogram_buckets=max(_LEAST, classes))


def class_counts(
    statistics: statistics_pb2.DatasetFeatureStatistics, classes: int
) -> npt.NDArray[np.int64]:
    """Reads the number of examples of each class.

    Labels outside of [0, classes) are an anomaly of their own and not counted here.

    Args:
      statistics: of one split.
      classes: number of classes.

    Returns:
      ``[classes]`` int64.

    Raises:
      UserError: the statistics do not hold the counts of all labels.
    """
    counts = np.zeros(classes, np.int64)
    for feature in statistics.features:
        if list(feature.path.step) == [features.LABEL]:
            stats = feature.string_stats
            buckets = stats.rank_histogram.buckets
            if stats.unique > len(buckets) and len(buckets) < classes:
                raise UserError(
                    f"Statistics count only {len(buckets)} of {stats.unique} labels: an "
                    "older version made them. Run the pipeline again."
                )
            for bucket in buckets:
                if 0 <= int(bucket.label) < classes:
                    counts[int(bucket.label)] = round(bucket.sample_count)
    return counts
