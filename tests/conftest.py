"""Fixtures that cost something, made once and shared; nothing here needs a network."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def standin(tmp_path_factory) -> Path:
    """A module in TF-Hub's format, random weights, seed 0."""
    from components.backbone.standin import make_standin

    directory = tmp_path_factory.mktemp("backbone") / "standin"
    make_standin(directory, seed=0)
    return directory


@pytest.fixture(scope="session")
def cifar_archive() -> Path:
    """Real CIFAR-10 images in the official archive's layout."""
    beside = REPOSITORY.parent / "shared" / "data" / "cifar-10-python-mini.tar.gz"
    path = Path(os.environ.get("CIFAR10_ARCHIVE", beside))
    if not path.exists():
        pytest.skip("no real CIFAR-10 archive: set CIFAR10_ARCHIVE to one")
    return path


@dataclass(frozen=True)
class Examples:
    """Ten constant grey pictures of 32 x 32 pixels in one record file."""

    pattern: str
    levels: np.ndarray  # [10] float64, the pixels' value in 0..255
    labels: np.ndarray  # [10] int64
    encoded: list[bytes]
    serialized: list[bytes]


@pytest.fixture(scope="session")
def examples(tmp_path_factory) -> Examples:
    import tensorflow as tf
    from PIL import Image

    from components import features
    from trainer.input_fn import COMPRESSION

    levels, labels = np.linspace(0, 255, 10).astype(np.uint8), np.arange(10)
    encoded, serialized = [], []
    for level, label in zip(levels, labels, strict=True):
        buffer = io.BytesIO()
        Image.new("RGB", (32, 32), (int(level),) * 3).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
        example = tf.train.Example()
        feature = example.features.feature
        feature[features.IMAGE_ENCODED].bytes_list.value.append(encoded[-1])
        feature[features.IMAGE_FORMAT].bytes_list.value.append(b"png")
        feature[features.IMAGE_HEIGHT].int64_list.value.append(32)
        feature[features.IMAGE_WIDTH].int64_list.value.append(32)
        feature[features.IMAGE_ID].bytes_list.value.append(f"made:{label}".encode())
        feature[features.LABEL].int64_list.value.append(int(label))
        serialized.append(example.SerializeToString())
    path = tmp_path_factory.mktemp("examples") / "data.gz"
    with tf.io.TFRecordWriter(str(path), COMPRESSION) as writer:
        for record in serialized:
            writer.write(record)
    return Examples(f"{path}*", levels.astype(float), labels, encoded, serialized)


@pytest.fixture(scope="session")
def transform_output(tmp_path_factory):
    """The real preprocessing_fn at 75 pixels, as the Transform component would write it."""
    import apache_beam as beam
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

    from components import transform
    from components.schema import curated_schema

    directory = str(tmp_path_factory.mktemp("transform") / "graph")
    specification = schema_utils.schema_as_feature_spec(curated_schema(10)).feature_spec
    metadata = dataset_metadata.DatasetMetadata.from_feature_spec(specification)

    def preprocessing_fn(inputs):
        return transform.preprocessing_fn(inputs, {"size": 75, "central_crop": 0.875})

    with (
        beam.Pipeline(runner="FnApiRunner") as pipeline,
        tft_beam.Context(temp_dir=str(tmp_path_factory.mktemp("transform_temporary"))),
    ):
        empty = pipeline | beam.Create([])  # the graph has no analyzers, so it needs no data
        fitted = (empty, metadata) | tft_beam.AnalyzeDataset(preprocessing_fn)
        fitted | tft_beam.WriteTransformFn(directory)
        raw = f"{directory}/{tft.TFTransformOutput.RAW_METADATA_DIR}"
        metadata | tft_beam.WriteMetadata(raw, pipeline=pipeline)
    return tft.TFTransformOutput(directory)
