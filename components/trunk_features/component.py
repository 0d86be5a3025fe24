"""TrunkFeatures, a TFX component: examples, transform graph and backbone to stored features."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
import tensorflow as tf
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts

from components import features
from components.record_index import COMPRESSION
from components.trunk_features import store
from components.trunk_features.handler import ImageView, TrunkHandler
from components.trunk_features.settings import TrunkSettings

_PIECE = 2048  # examples that a worker reads at a time; it skips over those before at 50,000/s


@component(use_beam=True)
def TrunkFeatures(  # noqa: N802 - TFX component names are classes' names
    examples: InputArtifact[standard_artifacts.Examples],
    transform_graph: InputArtifact[standard_artifacts.TransformGraph],
    trunk_features: OutputArtifact[standard_artifacts.Examples],
    settings: Parameter[str],
    pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Runs the frozen trunk over the train images in all views, the validation images in one.

    `settings` is a `TrunkSettings` as JSON. The examples keep their order in the index.

    Raises:
      UserError: the backbone does not fit, an image is damaged, or a record got lost.
    """
    chosen = TrunkSettings.model_validate_json(settings)
    views = {features.TRAIN: len(chosen.views), features.VALIDATION: 1}
    trunk_features.split_names = artifact_utils.encode_split_names(list(views))
    directories = {split: artifact_utils.get_split_uri([trunk_features], split) for split in views}
    files = {
        split: sorted(tf.io.gfile.glob(artifact_utils.get_split_uri([examples], split) + "/*"))
        for split in views
    }
    counts = {split: [_count(file) for file in files[split]] for split in views}
    for directory in directories.values():
        tf.io.gfile.makedirs(directory)
    with pipeline as root:
        _ = (
            root
            | "Pieces" >> beam.Create(_pieces(files, counts))
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_read, views)
            | "Trunk" >> RunInference(KeyedModelHandler(TrunkHandler(chosen, transform_graph.uri)))
            | "Write" >> beam.ParDo(store.WriteShards(directories))
        )
    for split, directory in directories.items():
        path = store.index_path(trunk_features.uri, split)
        store.commit(directory, path, counts[split], views[split])
    store.write_origin(trunk_features.uri, examples.uri)


class _Piece(NamedTuple):
    """Examples `start` to `stop - 1` of a file, read by one worker."""

    split: str
    file: int
    path: str
    start: int
    stop: int


def _pieces(
    files: Mapping[str, Sequence[str]], counts: Mapping[str, Sequence[int]]
) -> list[_Piece]:
    return [
        _Piece(split, number, path, start, min(start + _PIECE, count))
        for split in files
        for number, (path, count) in enumerate(zip(files[split], counts[split], strict=True))
        for start in range(0, count, _PIECE)
    ]


def _read(piece: _Piece, views: dict[str, int]) -> Iterator[tuple[store.Key, ImageView]]:
    split, file, path, start, stop = piece
    records = tf.data.TFRecordDataset(path, COMPRESSION).skip(start).take(stop - start)
    for number, serialized in enumerate(records.as_numpy_iterator(), start=start):
        for view in range(views[split]):
            yield store.Key(split, file, number, view), ImageView(serialized, view)


def _count(path: str) -> int:
    records = tf.data.TFRecordDataset(path, COMPRESSION)
    return int(records.reduce(tf.constant(0, tf.int64), lambda count, _: count + 1))
