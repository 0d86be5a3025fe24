"""From the artifacts' files to batches: raw images through the serving graph, or trunk features."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.image.augmentation import DRAWS, show_views
from inception_finetune.components.image.settings import TrainViews
from inception_finetune.components.image.undecodable import undecodable_image
from inception_finetune.components.io.record_index import (
    COMPRESSION,
    RecordIndex,
    RecordReader,
    content_hash,
    copy_and_index,
    read_in_order,
)
from inception_finetune.components.trunk_features.record import decode
from inception_finetune.trainer.mixing import Mixing, blend
from inception_finetune.trainer.order import Selection, TrainingOrder

Batch = tuple[tf.Tensor, tf.Tensor]
_PARALLEL_READS = 2  # batches


class Source(Protocol):
    """Examples in a fixed order."""

    def batches(self, batch_size: int, count: int | None = None) -> tf.data.Dataset:
        """Reads every example once, in its first view.

        Args:
          batch_size: examples in a batch; the last batch may be smaller.
          count: read only the first `count` examples.

        Returns:
          Batches of ``(inputs, labels [B] int64)``.
        """
        ...

    def digest(self) -> str:
        """Returns a hash of the content of all examples, whichever files hold them."""
        ...

    def damage(self) -> UserError | None:
        """Reads all examples; returns an error that names the first damaged one, or None."""
        ...


class IndexedSource(ABC):
    """Examples that can be read in any order; close after use."""

    views: int

    def __init__(self, index: RecordIndex) -> None:
        self._reader = RecordReader(index)

    def __len__(self) -> int:
        return len(self._reader.index)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.close()

    @abstractmethod
    def dataset(self, plan: tf.data.Dataset, choose: Callable[[int], Selection]) -> tf.data.Dataset:
        """Reads chosen examples.

        Args:
          plan: numbers of batches.
          choose: maps such a number to what the batch consists of.

        Returns:
          Batches of ``(inputs, labels [B] int64)``.
        """

    @abstractmethod
    def damage(self) -> UserError | None:
        """As in `Source`."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Labels of all examples, ``[N]``; -1 for a damaged one."""
        return self._reader.index.label

    def digest(self) -> str:
        """As in `Source`."""
        return self._reader.index.digest

    def batches(self, batch_size: int, count: int | None = None) -> tf.data.Dataset:
        """As in `Source`."""
        end = len(self) if count is None else min(count, len(self))

        def choose(number: int) -> Selection:
            examples = np.arange(number * batch_size, min((number + 1) * batch_size, end))
            draws = np.zeros([len(examples), DRAWS], np.float32)
            return Selection(examples, np.zeros_like(examples), draws)

        return self.dataset(tf.data.Dataset.range(-(-end // batch_size)), choose).prefetch(1)


class _Parser:
    """Parses serialized examples to images, as the serving graph transforms them."""

    def __init__(self, transform: tft.TFTransformOutput) -> None:
        self._layer = transform.transform_features_layer()
        raw = transform.raw_feature_spec()
        self._needed = {key: raw[key] for key in (features.IMAGE_ENCODED, features.LABEL)}

    def __call__(self, serialized: tf.Tensor) -> Batch:
        """Returns images ``[B, S, S, 3]`` float32 in [-1, 1] and labels ``[B]`` int64."""
        transformed = self._layer(tf.io.parse_example(serialized, self._needed))
        return transformed[features.IMAGE], transformed[features.TRANSFORMED_LABEL]


class ImageStream:
    """Raw examples in the order of TFX's files, without a copy; inputs are images."""

    def __init__(self, files: Sequence[str], transform: tft.TFTransformOutput) -> None:
        self._files = _expand(files)
        self._parse = _Parser(transform)

    def batches(self, batch_size: int, count: int | None = None) -> tf.data.Dataset:
        """As in `Source`."""
        records = tf.data.TFRecordDataset(self._files, COMPRESSION)
        examples = records.take(-1 if count is None else count).batch(batch_size)
        return examples.map(self._parse, num_parallel_calls=_PARALLEL_READS).prefetch(1)

    def digest(self) -> str:
        """As in `Source`; independent of the order, which an engine may change each time."""
        contents = np.array(sorted(map(content_hash, read_in_order(self._files))), np.int64)
        return hashlib.sha256(contents.tobytes()).hexdigest()

    def damage(self) -> UserError | None:
        """As in `Source`."""
        return undecodable_image(read_in_order(self._files))


class ImageSource(IndexedSource):
    """Raw examples; inputs are ``[B, S, S, 3]`` float32 in [-1, 1]."""

    def __init__(
        self,
        files: Sequence[str],
        transform: tft.TFTransformOutput,
        scratch: Path,
        views: TrainViews | None = None,
        first: int | None = None,
    ) -> None:
        """Copies the examples to `scratch`.

        Args:
          files: patterns of gzip-compressed TFRecord files.
          transform: the graph that preprocesses images.
          scratch: folder of the copy.
          views: of each image; None for the image as it is served.
          first: copy only the first of these examples by `order_key`.
        """
        super().__init__(copy_and_index(_expand(files), scratch, first))
        self._parse = _Parser(transform)
        self._views = views or TrainViews()
        self.views = self._views.count

    def damage(self) -> UserError | None:
        """As in `Source`."""
        return undecodable_image(self._reader.read([n], [0])[0] for n in range(len(self)))

    def dataset(self, plan: tf.data.Dataset, choose: Callable[[int], Selection]) -> tf.data.Dataset:
        """As in `IndexedSource`."""

        def read(number: int) -> tuple[npt.NDArray, ...]:
            examples, views, draws = choose(number)
            records = self._reader.read(examples, np.zeros_like(views))
            return np.array(records, object), views.astype(np.int32), draws

        def parse(number: tf.Tensor) -> Batch:
            serialized, views, draws = tf.numpy_function(
                read, [number], [tf.string, tf.int32, tf.float32]
            )
            serialized.set_shape([None])
            views.set_shape([None])
            draws.set_shape([None, DRAWS])
            images, labels = self._parse(serialized)
            return show_views(images, self._views, views, draws), labels

        return plan.map(parse, num_parallel_calls=_PARALLEL_READS)


class FeatureSource(IndexedSource):
    """Stored trunk outputs; inputs are ``[B, h, w, channels]`` or ``[B, features]``, as stored."""

    def __init__(self, index: RecordIndex) -> None:
        super().__init__(index)
        [first] = self._reader.read([0], [0])
        self._form = decode(first).values
        self.views = index.file.shape[1]

    def damage(self) -> UserError | None:
        """As in `Source`."""
        try:
            for number in range(len(self)):
                decode(self._reader.read([number], [0])[0])
        except UserError as error:
            return error
        return None

    def dataset(self, plan: tf.data.Dataset, choose: Callable[[int], Selection]) -> tf.data.Dataset:
        """As in `IndexedSource`."""

        def read(number: int) -> tuple[npt.NDArray, npt.NDArray]:
            examples, views, _ = choose(number)
            outputs = [decode(record) for record in self._reader.read(examples, views)]
            values = np.stack([output.values for output in outputs])
            # Workers of different kinds may have stored different types.
            # A record may be older than its label: the index has that of the example as it is now.
            return values.astype(self._form.dtype, copy=False), self.labels[examples]

        def load(number: tf.Tensor) -> Batch:
            dtype = tf.as_dtype(self._form.dtype)
            values, labels = tf.numpy_function(read, [number], [dtype, tf.int64])
            values.set_shape([None, *self._form.shape])
            labels.set_shape([None])
            return values, labels

        return plan.map(load, num_parallel_calls=_PARALLEL_READS)


def training_batches(
    source: IndexedSource,
    order: TrainingOrder,
    first: int,
    last: int,
    *,
    classes: int,
    mixing: Mixing | None = None,
    replicas: int = 1,
) -> tf.data.Dataset:
    """Reads the batches of steps `first` to ``last - 1``.

    Args:
      source: the train examples.
      order: which examples each step takes.
      first: number of the first step, from 0.
      last: number of the step after the last.
      classes: number of classes.
      mixing: how examples are blended, if they are.
      replicas: with more than one, each element is one replica's part of a batch, step by step.

    Returns:
      Batches of ``(inputs, targets [B, classes] float32)``; each target sums to 1.
    """
    plan = tf.data.Dataset.range(first * replicas, last * replicas)

    def places(number: int) -> tuple[int, slice]:
        step, replica = divmod(number, replicas)
        return step, slice(replica, None, replicas)

    def encode(inputs: tf.Tensor, labels: tf.Tensor) -> Batch:
        return inputs, tf.one_hot(labels, classes)

    if mixing is None:

        def choose(number: int) -> Selection:
            step, part = places(number)
            return order.batch(step).take(part)

        return source.dataset(plan, choose).map(encode).prefetch(replicas)

    def choose_pairs(number: int) -> Selection:
        step, part = places(number)
        return order.batch(step).take(mixing.plan(step, order.batch_size).pairs(part)[0])

    def draw(number: int) -> tuple[npt.NDArray, ...]:
        step, part = places(number)
        mix = mixing.plan(step, order.batch_size)
        return mix.pairs(part)[1], mix.share[part], mix.is_cut[part], mix.box[part]

    def blended(number: tf.Tensor, batch: Batch) -> Batch:
        drawn = tf.numpy_function(draw, [number], [tf.int64, tf.float32, tf.bool, tf.float32])
        for value, shape in zip(drawn, ([2, None], [None], [None], [None, 4]), strict=True):
            value.set_shape(shape)
        return blend(*encode(*batch), *drawn)

    batches = tf.data.Dataset.zip((plan, source.dataset(plan, choose_pairs)))
    return batches.map(blended).prefetch(replicas)


def first_examples(source: Source, count: int) -> Batch:
    """Returns one batch of the first `count` examples, or of all if there are fewer."""
    return next(iter(source.batches(count, count)))


def _expand(patterns: Sequence[str]) -> list[str]:
    files = sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))
    if not files:
        raise UserError(
            f"No example files for the Trainer: none match {', '.join(patterns)}. Run the "
            "pipeline again."
        )
    return files
