"""Fixtures that cost something, made once and shared; nothing here needs a network."""

import io
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from helpers.object_store import serving_s3
from helpers.paths import SHARED

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest


def pytest_configure() -> None:
    """Has the processes that tests start end by Ctrl-C: a shell's background jobs ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def standin(tmp_path_factory) -> Path:
    """A module in TF-Hub's format, random weights, seed 0."""
    from inception_finetune.components.backbone.standin import make_standin

    directory = tmp_path_factory.mktemp("backbone") / "standin"
    make_standin(directory, seed=0)
    return directory


@pytest.fixture(scope="session")
def object_store() -> Iterator[dict[str, str]]:
    """The environment by which S3 on loopback is found."""
    with serving_s3() as environment:
        yield environment


@pytest.fixture
def run_command(monkeypatch, capsys):
    """``run_command(*arguments)`` calls the entry point and gives (status, stdout, stderr)."""

    from inception_finetune.pipeline.cli import main as cli

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["inception-finetune", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        output = capsys.readouterr()
        return int(caught.value.code or 0), output.out, output.err

    return call


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, for pages."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "needs Debian's chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        # As root, Chromium has no sandbox of its own; it opens nothing but our page.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def cifar_archive() -> Path:
    """Real CIFAR-10 images in the official archive's layout."""
    beside = SHARED / "data" / "cifar-10-python-mini.tar.gz"
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
    ids: list[bytes]


@pytest.fixture(scope="session")
def examples(tmp_path_factory) -> Examples:
    import tensorflow as tf
    from PIL import Image

    from inception_finetune.components import features
    from inception_finetune.components.io.record_index import COMPRESSION, order_key

    # Named so that the order of reading, which goes by the ids, is the order here.
    ids = sorted((f"made:{number}".encode() for number in range(10)), key=order_key)
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
        feature[features.IMAGE_ID].bytes_list.value.append(ids[label])
        feature[features.LABEL].int64_list.value.append(int(label))
        serialized.append(example.SerializeToString())
    path = tmp_path_factory.mktemp("examples") / "data.gz"
    with tf.io.TFRecordWriter(str(path), COMPRESSION) as writer:
        for record in serialized:
            writer.write(record)
    return Examples(f"{path}*", levels.astype(float), labels, encoded, serialized, ids)


@pytest.fixture(scope="session")
def transform_at(examples, tmp_path_factory):
    """``transform_at(size)``: the real preprocessing_fn, as the Transform component writes it."""
    import apache_beam as beam
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io
    from tfx_bsl.public import tfxio

    from inception_finetune.components.image import transform
    from inception_finetune.components.image.schema import curated_schema

    @cache
    def make(size: int) -> tft.TFTransformOutput:
        directory = str(tmp_path_factory.mktemp("transform") / "graph")
        schema = curated_schema(10)
        source = tfxio.TFExampleRecord([examples.pattern], schema=schema)
        preprocessing_fn = partial(
            transform.preprocessing_fn, custom_config={"size": size, "central_crop": 0.875}
        )
        with (
            beam.Pipeline(runner="FnApiRunner") as pipeline,
            tft_beam.Context(temp_dir=str(tmp_path_factory.mktemp("transform_temporary"))),
        ):
            raw = (pipeline | source.BeamSource(), source.TensorAdapterConfig())
            raw | tft_beam.AnalyzeDataset(preprocessing_fn) | tft_beam.WriteTransformFn(directory)
        raw_metadata = f"{directory}/{tft.TFTransformOutput.RAW_METADATA_DIR}"
        metadata_io.write_metadata(dataset_metadata.DatasetMetadata(schema), raw_metadata)
        return tft.TFTransformOutput(directory)

    return make


@pytest.fixture(scope="session")
def transform_output(transform_at):
    """At 75 pixels."""
    return transform_at(75)


@pytest.fixture(scope="session")
def brightness_model(transform_output, tmp_path_factory) -> Path:
    """Answers by the mean pixel: light, grey, dark; the names try rich's markup.

    A class is in the prediction set from 0.3 on, and pictures that are far from grey are unknown.
    """
    import tensorflow as tf
    import tf_keras as keras

    from inception_finetune.components.evaluation.confidence import Novelty
    from inception_finetune.components.image.views import IDENTITY
    from inception_finetune.trainer import signatures
    from inception_finetune.trainer.confidence import Confidence
    from inception_finetune.trainer.explanation import GradCam

    class Brightness(keras.layers.Layer):
        def call(self, images):
            mean = tf.reduce_mean(images, axis=[1, 2, 3])
            return 10 * tf.stack([mean, tf.zeros_like(mean), -mean], axis=1)

    directory = tmp_path_factory.mktemp("pushed") / "1"
    image = keras.Input([75, 75, 3])
    vector = keras.layers.GlobalAveragePooling2D()(image)
    network = keras.Model(image, [vector, Brightness()(image)])
    thirds = keras.layers.AveragePooling2D(25)(image)
    inner = keras.Input([3, 3, 3])
    grad_cam = GradCam(keras.Model(image, thirds), keras.Model(inner, Brightness()(inner)))
    labels = ("[red]", "[/]", "dark")
    grey = np.full([3, 1], 1 / np.sqrt(3), np.float32)
    black = np.full(3, -1.5, np.float32)  # and darker, so that grey itself has a direction
    confidence = Confidence(1.0, 0.3, Novelty(black, grey, threshold=0.15))
    signatures.export(
        signatures.ServingModel(
            network, transform_output, labels, (IDENTITY,), confidence, grad_cam, central_crop=0.875
        ),
        str(directory),
    )
    (directory / "assets.extra").mkdir()
    lines = "".join(f"{place}:{name}\n" for place, name in enumerate(labels))
    (directory / "assets.extra/labels.txt").write_text(lines)
    return directory


@pytest.fixture(scope="session")
def smallest_config(tmp_path_factory, standin):
    """All 1,797 digits, the head alone trained for a few steps: plumbing, not learning."""
    from inception_finetune.pipeline.config import load_config

    place = tmp_path_factory.mktemp("run")
    return load_config(
        "digits",
        [
            f"root={place / 'a root'}",
            f"cache={place / 'cache'}",
            f"backbone.handle={standin}",
            "backbone.trainable_from=head",
            "feature_cache=true",
            "training.epochs=null",
            "training.steps=60",
            "training.batch_size=32",
            "training.learning_rate=0.01",
            "gate.min_accuracy=0.15",
            "gate.max_accuracy_loss=0.05",
            "infra.server=none",  # a start of TensorFlow; one test has it
        ],
    )


@pytest.fixture(scope="session")
def first_run(smallest_config):
    """The outcome of the whole pipeline, run once; what runs it again works in the same root."""
    from inception_finetune.pipeline import local

    return local.run(smallest_config)
