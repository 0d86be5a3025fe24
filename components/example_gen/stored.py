"""The test examples that ImportExampleGen has written, for steps that look at single pictures."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import tensorflow as tf

from inception_finetune.components import features
from inception_finetune.components.io.record_index import COMPRESSION


def read_test_examples(
    uri: str, ids: Collection[str] | None = None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Reads test examples, one in memory at a time.

    Args:
      uri: of the examples artifact.
      ids: of the examples that are wanted; None for all.

    Yields:
      The id, and the features by key, in the order of the files.
    """
    wanted = None if ids is None else frozenset(ids)
    files = sorted(tf.io.gfile.glob(f"{uri}/Split-{features.TEST}/*"))
    for record in tf.data.TFRecordDataset(files, COMPRESSION).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        identity = feature[features.IMAGE_ID].bytes_list.value[0].decode()
        if wanted is None or identity in wanted:
            yield identity, feature
