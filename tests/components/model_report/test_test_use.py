"""How many models were measured on the same test pictures is counted by picture and model."""

from pathlib import Path

import ml_metadata as mlmd
import pytest
import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2
from tfx.types.experimental.simple_artifacts import File
from tfx.types.standard_artifacts import Model

from inception_finetune.components import features
from inception_finetune.components.io.record_index import COMPRESSION
from inception_finetune.components.model_report.settings import TEST_USE
from inception_finetune.components.model_report.test_use import count_use


def write_examples(directory: Path, pictures: dict[str, bytes]) -> str:
    split = directory / f"Split-{features.TEST}"
    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / "examples-0.gz"), COMPRESSION) as writer:
        for identity, encoded in pictures.items():
            example = tf.train.Example()
            feature = example.features.feature
            feature[features.IMAGE_ID].bytes_list.value.append(identity.encode())
            feature[features.IMAGE_ENCODED].bytes_list.value.append(encoded)
            writer.write(example.SerializeToString())
    return str(directory)


@pytest.fixture
def measure(tmp_path):
    """``measure(model id, examples)``: the number, noted in a metadata store as TFX does it."""
    metadata = str(tmp_path / "metadata.sqlite")
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = metadata
    store = mlmd.MetadataStore(connection)
    type_id = store.put_artifact_type(metadata_store_pb2.ArtifactType(name=File.TYPE_NAME))

    def measure(model_id: int, examples: str) -> int | None:
        model, report = Model(), File()
        model.id = model_id
        use = count_use(metadata, examples, model, report)
        report.mlmd_artifact.type_id = type_id
        store.put_artifacts([report.mlmd_artifact])
        assert report.get_int_custom_property(TEST_USE) == use
        return use

    return measure


def test_models_are_counted_that_were_measured_on_the_same_pictures(tmp_path, measure):
    ours = write_examples(tmp_path / "ours", {"test:0": b"a", "test:1": b"b"})
    renamed = write_examples(tmp_path / "renamed", {"other:7": b"b", "other:8": b"a"})
    one_changed = write_examples(tmp_path / "changed", {"test:0": b"a", "test:1": b"c"})
    assert [measure(model, ours) for model in (11, 12, 13)] == [1, 2, 3]
    assert measure(14, renamed) == 4
    assert measure(15, one_changed) == 1
    assert measure(12, ours) == 2  # reported again, and no further use
    assert measure(16, ours) == 5


def test_nothing_is_counted_where_no_runner_keeps_metadata(tmp_path):
    assert count_use(None, str(tmp_path), Model(), File()) is None
