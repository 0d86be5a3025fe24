"""TrunkFeatures, a TFX component: examples, transform graph and backbone to stored features."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

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

from inception_finetune.components import features
from inception_finetune.components.beam.example_shards import (
    CountExamples,
    ShardFile,
    ShardRange,
    SplitIntoRanges,
    read_range,
    shard_files,
)
from inception_finetune.components.beam.watched import expect, watched
from inception_finetune.components.image.views import AS_SERVED
from inception_finetune.components.io.record_index import identify, order_key
from inception_finetune.components.steps import Step
from inception_finetune.components.trunk_features import store
from inception_finetune.components.trunk_features.handler import ImageView, TrunkHandler
from inception_finetune.components.trunk_features.known import (
    Known,
    WriteKnown,
    find_known,
    load_known,
    source_of,
    write_made_by,
)
from inception_finetune.components.trunk_features.settings import TrunkSettings

_NEW: Final = "new"
_KNOWN: Final = "known"  # examples whose features an earlier artifact holds


@component(use_beam=True)
def TrunkFeatures(  # noqa: N802 - TFX component names are classes' names
    examples: InputArtifact[standard_artifacts.Examples],
    transform_graph: InputArtifact[standard_artifacts.TransformGraph],
    trunk_features: OutputArtifact[standard_artifacts.Examples],
    settings: Parameter[str],
    pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Runs the frozen trunk over train images in all views, validation images as they are served.

    Features that the newest artifact of the same settings holds are not computed again: its files
    get a second name in this one. The index keeps the order of the examples.

    Args:
      examples: raw examples with the splits train and validation.
      transform_graph: the graph that preprocesses images.
      trunk_features: receives the features and their indices.
      settings: a `TrunkSettings` as JSON.
      pipeline: the Beam pipeline, from TFX.

    Raises:
      UserError: the backbone does not fit, an image cannot be decoded, the disk cannot hold all
        features, or a record was lost.
    """
    config = TrunkSettings.model_validate_json(settings)
    views = {features.TRAIN: [*range(config.views.count)], features.VALIDATION: [AS_SERVED]}
    trunk_features.split_names = artifact_utils.encode_split_names(list(views))
    directories = {split: artifact_utils.get_split_uri([trunk_features], split) for split in views}
    for directory in directories.values():
        tf.io.gfile.makedirs(directory)
    files = [
        file
        for split in views
        for file in shard_files(artifact_utils.get_split_uri([examples], split), split)
    ]
    write = store.WriteShards(directories)
    earlier = find_known(trunk_features.uri, config)
    known = {split: Known.load(earlier, split) for split in views}
    with watched(pipeline, Step.TRUNK_FEATURES, "images"), pipeline as root:
        files_with_counts = root | "Count" >> CountExamples(files)
        _ = (
            files_with_counts
            | "All counts" >> beam.combiners.ToList()
            | "Write counts" >> beam.Map(store.write_counts, trunk_features.uri)
        )
        records = (
            files_with_counts
            | "Records" >> beam.Map(_records, views)
            | "Sum" >> beam.CombineGlobally(sum)
        )
        examples_read = (
            files_with_counts
            | "Cut" >> SplitIntoRanges(len(files))
            | "Read" >> beam.FlatMap(_read, views, earlier).with_outputs(_KNOWN, main=_NEW)
        )
        # At least so many of them are new: what is known may have left the examples since.
        new = records | "New" >> beam.Map(
            lambda count, held: max(0, count - held),
            sum(len(one.place) * len(views[split]) for split, one in known.items()),
        )
        _ = (
            examples_read[_NEW]
            | "Trunk" >> RunInference(KeyedModelHandler(TrunkHandler(config, transform_graph.uri)))
            | "Write" >> beam.ParDo(write, beam.pvalue.AsSingleton(new))
        )
        _ = examples_read[_KNOWN] | "Write known" >> beam.ParDo(WriteKnown(directories))
    counts = store.pop_counts(trunk_features.uri)
    taken = {
        split: store.commit(
            directory,
            store.index_path(trunk_features.uri, split),
            counts.get(split, []),
            len(views[split]),
            known[split],
        )
        for split, directory in directories.items()
    }
    store.write_origin(trunk_features.uri, examples.uri)
    write_made_by(trunk_features.uri, config)
    trunk_features.set_int_custom_property(
        features.KNOWN_RECORDS, sum(images * len(views[split]) for split, images in taken.items())
    )
    if held := sum(taken.values()):
        total = sum(sum(counts.get(split, [])) for split in views)
        print(
            f"trunk features: {total - held:,} images computed, {held:,} taken from an earlier run",
            file=sys.stderr,
            flush=True,
        )


def _records(file_with_count: tuple[ShardFile, int], views: Mapping[str, list[int]]) -> int:
    file, examples = file_with_count
    records = examples * len(views[file.split])
    expect(records)
    return records


def _read(
    shard_range: ShardRange, views: Mapping[str, list[int]], earlier: str | None
) -> Iterator[Any]:
    """Yields ``(Key, ImageView)`` of each example in each view of its split.

    Of an example whose features are known it yields a row of `WriteKnown` instead, as `_KNOWN`.
    """
    split, file, _ = shard_range.file
    place = load_known(earlier, split).place
    for number, serialized in read_range(shard_range):
        source = source_of(serialized)
        if source in place:
            identity, label = identify(serialized)
            row = (file, number, source, order_key(identity), label, place[source])
            yield beam.pvalue.TaggedOutput(_KNOWN, (split, row))
            continue
        for column, view in enumerate(views[split]):
            yield store.Key(split, file, number, column, source), ImageView(serialized, view)
