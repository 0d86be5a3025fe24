"""From the artifacts' files to batches: raw images through the serving graph, or trunk features."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft

from components import features
from components.damaged import damaged_image
from components.errors import UserError
from components.record_index import RecordIndex, RecordReader, spool
from components.trunk_features.record import decode
from components.trunk_features.store import index_path, read_origin
from components.views import IDENTITY, choose_views
from trainer.order import TrainingOrder

Batch = tuple[tf.Tensor, tf.Tensor]
_PARALLEL_READS = 2  # batches


class Source(Protocol):
    """Examples that can be read in any order."""

    views: int

    def __len__(self) -> int: ...

    def dataset(self, plan: tf.data.Dataset, choose: Callable[[int], Any]) -> tf.data.Dataset:
        """Batches of ``(inputs, labels [B] int64)``; ``choose(n)`` gives examples and views."""
        ...

    def damage(self) -> UserError | None:
        """What to tell the user if an example is damaged; reads all of them."""
        ...


class ImageSource:
    """Raw examples; inputs are ``[B, S, S, 3]`` float32 in [-1, 1]."""

    def __init__(
        self,
        files: Sequence[str],
        transform: tft.TFTransformOutput,
        scratch: Path,
        views: Sequence[str] = (IDENTITY,),
    ) -> None:
        self._reader = RecordReader(spool(_expand(files), scratch))
        self._layer = transform.transform_features_layer()
        raw = transform.raw_feature_spec()
        self._needed = {key: raw[key] for key in (features.IMAGE_ENCODED, features.LABEL)}
        self._names = tuple(views)
        self.views = len(views)

    def __len__(self) -> int:
        return len(self._reader.index)

    def damage(self) -> UserError | None:
        return damaged_image(self._reader.read([n], [0])[0] for n in range(len(self)))

    def dataset(self, plan: tf.data.Dataset, choose: Callable[[int], Any]) -> tf.data.Dataset:
        def read(number: int) -> tuple[npt.NDArray, npt.NDArray]:
            examples, views = choose(number)
            records = self._reader.read(examples, np.zeros_like(views))
            return np.array(records, object), views.astype(np.int32)

        def parse(number: tf.Tensor) -> Batch:
            serialized, views = tf.numpy_function(read, [number], [tf.string, tf.int32])
            serialized.set_shape([None])
            views.set_shape([None])
            transformed = self._layer(tf.io.parse_example(serialized, self._needed))
            images = choose_views(transformed[features.IMAGE], self._names, views)
            return images, transformed[features.TARGET]

        return plan.map(parse, num_parallel_calls=_PARALLEL_READS)


class FeatureSource:
    """Stored trunk outputs; inputs are ``[B, h, w, channels]`` or ``[B, 2048]``, as stored."""

    def __init__(self, index: RecordIndex) -> None:
        self._reader = RecordReader(index)
        [first] = self._reader.read([0], [0])
        self._form = decode(first).values
        self.views = index.file.shape[1]

    def __len__(self) -> int:
        return len(self._reader.index)

    def damage(self) -> UserError | None:
        try:
            for number in range(len(self)):
                decode(self._reader.read([number], [0])[0])
        except UserError as error:
            return error
        return None

    def dataset(self, plan: tf.data.Dataset, choose: Callable[[int], Any]) -> tf.data.Dataset:
        def read(number: int) -> tuple[npt.NDArray, npt.NDArray]:
            outputs = [decode(record) for record in self._reader.read(*choose(number))]
            values = np.stack([output.values for output in outputs])
            # Workers of different kinds may have stored different types.
            return (
                values.astype(self._form.dtype, copy=False),
                np.array([output.label for output in outputs], np.int64),
            )

        def load(number: tf.Tensor) -> Batch:
            dtype = tf.as_dtype(self._form.dtype)
            values, labels = tf.numpy_function(read, [number], [dtype, tf.int64])
            values.set_shape([None, *self._form.shape])
            labels.set_shape([None])
            return values, labels

        return plan.map(load, num_parallel_calls=_PARALLEL_READS)


def open_source(
    files: Sequence[str],
    split: str,
    transform: tft.TFTransformOutput,
    scratch: Path,
    views: Sequence[str] = (IDENTITY,),
) -> Source:
    """Trunk features where the artifact holds them, else raw examples.

    Args:
      files: patterns as TFX gives them, ``<artifact>/Split-<split>/*``.
      scratch: folder for a copy of raw examples that can be read in any order.
      views: of raw examples; features are stored in theirs.
    """
    artifact = files[0].rsplit("/", 2)[0]
    path = index_path(artifact, split)
    if tf.io.gfile.exists(path):
        return FeatureSource(RecordIndex.load(path, f"{artifact}/Split-{split}"))
    return ImageSource(files, transform, scratch, views)


def open_pictures(
    files: Sequence[str], split: str, transform: tft.TFTransformOutput, scratch: Path
) -> ImageSource:
    """The images of `open_source`'s examples in the same order, even where it reads features."""
    origin = read_origin(files[0].rsplit("/", 2)[0])
    return ImageSource([f"{origin}/Split-{split}/*"], transform, scratch)


def training_batches(
    source: Source,
    order: TrainingOrder,
    first: int,
    last: int,
    *,
    replicas: int = 1,
    mine: range = range(1),
) -> tf.data.Dataset:
    """The batches of steps `first` to ``last - 1``.

    With more than one of `replicas`, each element is one replica's part of a batch, and this
    pipeline delivers the parts of those in `mine`, step by step.
    """

    def choose(number: int) -> tuple[npt.NDArray, npt.NDArray]:
        step, replica = divmod(number, len(mine))
        examples, views = order.batch(step)
        part = slice(mine[replica], None, replicas)
        return examples[part], views[part]

    plan = tf.data.Dataset.range(first * len(mine), last * len(mine))
    return source.dataset(plan, choose).prefetch(len(mine))


def evaluation_batches(
    source: Source, batch_size: int, count: int | None = None
) -> tf.data.Dataset:
    """Every example once, in order and in its first view; the last batch may be shorter.

    With `count`, the first ones alone.
    """
    end = len(source) if count is None else min(count, len(source))

    def choose(number: int) -> tuple[npt.NDArray, npt.NDArray]:
        examples = np.arange(number * batch_size, min((number + 1) * batch_size, end))
        return examples, np.zeros_like(examples)

    plan = tf.data.Dataset.range(-(-end // batch_size))
    return source.dataset(plan, choose).prefetch(1)


def first_examples(source: Source, count: int) -> Batch:
    """One batch of the first `count` examples, or of all if there are fewer."""
    examples = np.arange(min(count, len(source)))
    plan = tf.data.Dataset.range(1)
    [batch] = source.dataset(plan, lambda _: (examples, np.zeros_like(examples)))
    return batch


def _expand(patterns: Sequence[str]) -> list[str]:
    files = sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))
    if not files:
        raise UserError(f"the Trainer needs example files. None match: {', '.join(patterns)}")
    return files
