"""Whether the disk can hold all features: asked when the first are written, not when it is full."""

import shutil

from inception_finetune.components.errors import UserError

SAMPLE = 64  # records that are written before their mean size is taken for that of all


def check_room(directory: str, record_bytes: float, records: int) -> None:
    """Compares what `records` more of `record_bytes` each need with what is free.

    Raises:
      UserError: they do not fit. Nothing is asked where `directory` is on an object store.
    """
    if "://" in directory:
        return
    needed, free = record_bytes * records, shutil.disk_usage(directory).free
    if needed > free:
        raise UserError(
            f"all trunk features must fit on the disk. {records:,} of {record_bytes / 1e3:.0f} KB "
            f"take {needed / 1e9:,.1f} GB, and {directory} has {free / 1e9:,.1f} GB; make room, "
            "give another root=DIRECTORY, a later backbone.trainable_from, or feature_cache=false"
        )
