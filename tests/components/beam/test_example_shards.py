"""How examples' files are shared among workers."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from inception_finetune.components import features
from inception_finetune.components.beam import example_shards


@pytest.mark.parametrize(
    ("flags", "files", "expected"),
    [
        ([], 1, 1),
        (["--direct_num_workers=2"], 1, 16),
        (["--direct_num_workers=2"], 5, 4),
        (["--runner=PortableRunner", "--parallelism=4"], 1, 32),
        (["--runner=PortableRunner", "--max_num_workers=4"], 64, 1),
        (["--runner=PortableRunner"], 64, 8),
    ],
)
def test_a_file_is_cut_for_the_workers_that_there_are(flags, files, expected):
    flags = ["--runner=FnApiRunner", *flags]
    pipeline = beam.Pipeline(options=PipelineOptions(flags))
    assert example_shards.max_ranges_per_file(pipeline, files) == expected


def test_ranges_cover_a_file_once():
    file = example_shards.ShardFile(features.TRAIN, 0, "")
    for examples, most, expected in ((0, 4, 0), (100, 4, 1), (1025, 4, 4), (2048, 16, 8)):
        ranges = list(example_shards.split_into_ranges((file, examples), most))
        assert len(ranges) == expected
        covered = [n for shard_range in ranges for n in range(shard_range.start, shard_range.stop)]
        assert covered == list(range(examples))
