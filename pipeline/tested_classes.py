"""Whether a gate that bounds every class, or a metric over them, has test pictures of each."""

from collections.abc import Sequence
from pathlib import Path

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.label_names import listed


def require_tested(records: Path, label_names: Sequence[str]) -> None:
    """Reads the labels of the converted test split in the folder `records`.

    Raises:
      UserError: a class has no test picture: its bound would hold nothing.
    """
    import tensorflow as tf

    from inception_finetune.components.drift.records import read_records

    untested = set(range(len(label_names)))
    for file in sorted(records.glob(f"{features.TEST}-*.tfrecord")):
        if not untested:
            return
        for record in read_records(str(file)):
            feature = tf.train.Example.FromString(record).features.feature
            untested -= set(feature[features.LABEL].int64_list.value)
            if not untested:
                break
    if untested:
        names = [label_names[label] for label in sorted(untested)]
        raise UserError(
            f"No test pictures of {listed(names)}: gate.every_class=true, a bound with "
            "every_class, or one of a metric over classes needs some of each class. Add some, or "
            "take that bound away."
        )
