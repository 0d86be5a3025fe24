"""Features of pictures that an earlier artifact holds are not computed again, and are the same."""

import json
import shutil
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from inception_finetune.components import features
from inception_finetune.components.backbone.module import fingerprint
from inception_finetune.components.backbone.standin import make_standin
from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.dataset.tfrecord import serialize_example
from inception_finetune.components.image.settings import TrainViews
from inception_finetune.components.io.record_index import COMPRESSION
from inception_finetune.components.trunk_features.component import TrunkFeatures
from inception_finetune.components.trunk_features.handler import TrunkHandler
from inception_finetune.components.trunk_features.settings import TrunkSettings
from inception_finetune.trainer.examples import open_features

SIZE = 32
FIRST = {features.TRAIN: range(10), features.VALIDATION: range(10, 14)}
# Three are gone and five new; in validation one is gone and one, which was train, is new.
SECOND = {features.TRAIN: [*range(3, 9), *range(20, 25)], features.VALIDATION: [11, 12, 13, 9]}


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> TrunkSettings:
    backbone = tmp_path_factory.mktemp("backbone") / "module"
    make_standin(backbone, seed=0, network="scratch_cnn", image_size=SIZE)
    return TrunkSettings(
        network="scratch_cnn",
        backbone_directory=str(backbone),
        backbone_fingerprint=fingerprint(backbone),
        trainable_from="Dense_3",
        image_size=SIZE,
        compute_dtype="float32",
        views=TrainViews(views=("identity", "flip_left_right")),
        code_fingerprint="",
        transform_fingerprint="prepared so",
    )


class Runs:
    """Runs of the component in the folders 1, 2, …, as TFX names them."""

    def __init__(self, place: Path, transform, settings: TrunkSettings, monkeypatch) -> None:
        self.place, self.settings, self.computed = place, settings, 0
        self.graph = transform.transform_savedmodel_dir.rsplit("/", 1)[0]
        infer = TrunkHandler.run_inference

        def counted(handler, batch, *arguments, **named):
            self.computed += len(batch)
            return infer(handler, batch, *arguments, **named)

        monkeypatch.setattr(TrunkHandler, "run_inference", counted)

    def run(self, name: str, pictures, labels=None, contents=None, **changes) -> int:
        """Returns how many views went through the trunk.

        `labels` and `contents`, by the number of a picture, are others than usual.
        """
        raw = self.place / "raw" / name
        for split, numbers in pictures.items():
            (raw / f"Split-{split}").mkdir(parents=True)
            path = str(raw / f"Split-{split}/data-0.gz")
            with tf.io.TFRecordWriter(path, COMPRESSION) as writer:
                for number in numbers:
                    label = (labels or {}).get(number, number % 3)
                    writer.write(example(number, label, (contents or {}).get(number, number)))
        self.computed = 0
        self.made = artifact(standard_artifacts.Examples, self.place / "out" / name)
        TrunkFeatures.test_call(
            examples=artifact(standard_artifacts.Examples, raw, list(pictures)),
            transform_graph=artifact(standard_artifacts.TransformGraph, self.graph),
            trunk_features=self.made,
            settings=self.settings.model_copy(update=changes).model_dump_json(),
            pipeline=beam.Pipeline(runner="FnApiRunner"),
        )
        return self.computed

    def read(self, name: str, split: str):
        """Features of all examples, their labels, and the digest."""
        with open_features([f"{self.place}/out/{name}/Split-{split}/*"], split) as source:
            [(values, labels)] = source.batches(100)
            return values.numpy(), labels.numpy(), source.digest()


def example(number: int, label: int, content: int) -> bytes:
    pixels = np.random.default_rng(content).integers(0, 256, [20, 20, 3], np.uint8)
    return serialize_example(
        {
            features.IMAGE_ENCODED: encode_png(pixels),
            features.IMAGE_ID: f"made:{number}".encode(),
            features.LABEL: label,
        }
    )


def artifact(kind, uri, splits=None):
    made = kind()
    made.uri = str(uri)
    if splits:
        made.split_names = json.dumps(splits)
    return made


@pytest.fixture
def runs(tmp_path, transform_at, settings, monkeypatch) -> Runs:
    return Runs(tmp_path, transform_at(SIZE), settings, monkeypatch)


def test_only_new_pictures_go_through_the_trunk(runs, tmp_path, capfd):
    assert runs.run("1", FIRST) == 2 * 10 + 4
    assert "taken from an earlier run" not in capfd.readouterr().err
    assert runs.run("2", SECOND, labels={5: 7}) == 2 * 5 + 1
    assert runs.made.get_int_custom_property(features.KNOWN_RECORDS) == 2 * 6 + 3
    said = "trunk features: 6 images computed, 9 taken from an earlier run"
    assert said in capfd.readouterr().err
    shutil.rmtree(tmp_path / "out/1")  # as `clean` does: what was taken has names of its own
    assert runs.run("elsewhere/1", SECOND, labels={5: 7}) == 2 * 11 + 4
    for split in FIRST:
        found, labels, _ = runs.read("2", split)
        expected, expected_labels, _ = runs.read("elsewhere/1", split)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(labels, expected_labels)
        assert len(np.unique(found.reshape(len(found), -1), axis=0)) == len(found)
    assert 7 in runs.read("2", features.TRAIN)[1]


def test_what_another_trunk_or_preparation_made_is_not_taken(runs):
    whole = runs.run("1", FIRST)
    assert runs.run("2", FIRST) == 0
    assert runs.run("3", FIRST, transform_fingerprint="prepared otherwise") == whole
    assert runs.run("4", FIRST, views=TrainViews()) == 10 + 4
    assert runs.run("5", FIRST, transform_fingerprint="") == whole
    assert runs.run("6", FIRST) == 0  # 2 is not the newest, and its settings are these


def test_another_label_alone_is_another_training_of_the_same_features(runs):
    runs.run("1", FIRST)
    assert runs.run("2", FIRST, labels={4: 2}) == 0
    (values, labels, digest), (others, other_labels, other_digest) = (
        runs.read(name, features.TRAIN) for name in ("1", "2")
    )
    np.testing.assert_array_equal(values, others)
    assert (labels != other_labels).sum() == 1
    assert digest != other_digest


def test_another_picture_of_the_same_id_is_computed(runs):
    runs.run("1", FIRST)
    assert runs.run("2", FIRST, contents={4: 104, 12: 112}) == 2 + 1
    values, others = (runs.read(name, features.TRAIN)[0] for name in ("1", "2"))
    assert (values != others).reshape(len(values), -1).any(axis=1).sum() == 1


def test_what_was_cut_off_is_computed_again_and_unfinished_artifacts_are_not_used(runs, tmp_path):
    runs.run("1", FIRST)
    [shard] = (tmp_path / "out/1/Split-train").iterdir()
    shard.write_bytes(shard.read_bytes()[:-40])
    assert runs.run("2", FIRST) == 2  # the last picture, in both views
    (tmp_path / "out/2/made-by.json").unlink()  # written last
    (tmp_path / "out/1/made-by.json").unlink()
    assert runs.run("3", FIRST) == 2 * 10 + 4
