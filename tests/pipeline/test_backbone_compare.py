"""`backbone compare`: block outputs, probes, costs and the files that it writes."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from inception_finetune.components.backbone.load import load_backbone
from inception_finetune.components.backbone.networks.inception_v1 import INCEPTION_V1
from inception_finetune.components.backbone.standin import make_standin
from inception_finetune.components.backbone_comparison import comparison
from inception_finetune.components.backbone_comparison.block_outputs import block_outputs
from inception_finetune.components.backbone_comparison.probe import probe
from inception_finetune.components.errors import UserError
from inception_finetune.components.image.transform import decode_and_scale
from inception_finetune.pipeline.backbone_compare import read_samples
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.data_set import convert_dataset

SIZE = 32
SETTINGS = ("image.size=32", "backbone.network=inception_v1", "backbone.trainable_from=all")


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    directory = tmp_path_factory.mktemp("compare") / "mine"
    make_standin(directory, seed=0, network="inception_v1")
    return directory


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("compare_root")


@pytest.fixture(scope="module")
def records(place):
    """The digits without their test shards."""
    config = load_config("digits", [f"root={place}", f"cache={place / 'cache'}", *SETTINGS])
    directory = place / "records"
    convert_dataset(config, directory)
    return directory


@pytest.fixture(scope="module")
def samples(records):
    hidden = [(path, path.read_bytes()) for path in records.glob("test-*")]
    assert hidden
    for path, _ in hidden:
        path.unlink()
    found = read_samples(records, 60, seed=0)
    for path, content in hidden:
        path.write_bytes(content)
    return found


def test_test_images_are_neither_needed_nor_read(samples, records):
    assert (len(samples.train.labels), len(samples.validation.labels)) == (60, 60)
    ids = [
        tf.train.Example.FromString(one).features.feature["image/id"].bytes_list.value[0]
        for split in samples
        for one in split.serialized
    ]
    tested = {
        tf.train.Example.FromString(record).features.feature["image/id"].bytes_list.value[0]
        for path in records.glob("test-*.tfrecord")
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    }
    assert len(set(ids)) == 120
    assert len(tested) == 360
    assert not tested & set(ids)


def test_block_outputs_are_the_networks_pooled(module, samples):
    config = load_config("digits", SETTINGS)
    loaded = load_backbone(module, image_size=SIZE)
    found = block_outputs(loaded, samples.train, config.image, tf.float32, lambda n, note="": None)
    images = tf.stack([decode_and_scale(one, SIZE, 1.0) for one in samples.train.encoded])
    network = loaded.network
    ends = [network.get_layer(block.name).output for block in INCEPTION_V1.blocks]
    for block, value in zip(
        INCEPTION_V1.blocks, keras.Model(network.input, ends)(images), strict=True
    ):
        expected = value.numpy().mean(axis=(1, 2))
        difference = np.abs(found.values[block.name] - expected).max()
        assert difference <= 1e-4 * np.abs(expected).max(), block.name
    assert min(found.seconds.values()) > 0


def test_a_probe_reads_what_is_there_and_nothing_else():
    random = np.random.default_rng(0)
    labels = np.arange(400) % 4
    features = random.normal(size=[400, 6]).astype(np.float32)
    features[:, :4] += 20 * np.eye(4, dtype=np.float32)[labels]
    split = slice(0, 200), slice(200, 400)

    def accuracy(labels):
        return probe(
            features[split[0]], labels[split[0]], features[split[1]], labels[split[1]], 0
        ).accuracy

    assert accuracy(labels).value == 1
    chance = accuracy(random.permutation(labels))
    assert chance.low < 0.25 < chance.high


def test_one_class_is_refused():
    features = np.zeros([50, 3], np.float32)
    labels = np.zeros(50, np.int64)
    with pytest.raises(UserError, match="All 40 train examples .* of one class"):
        probe(features, labels, features, labels, 0)


def test_costs_of_inception_v1():
    found = comparison.costs(INCEPTION_V1, 224, 10, value_bytes=2)
    whole = sum(int(np.prod(shape)) for _, shape in INCEPTION_V1.variables(224))
    first, last = found["stem"], found["Mixed_5c"]
    assert first.feature_shape == (28, 28, 192)
    assert first.feature_bytes == 28 * 28 * 192 * 2
    assert first.frozen_multiplications == (
        112 * 112 * 7 * 7 * 3 * 64 + 56 * 56 * (64 * 64 + 9 * 64 * 192)
    )
    stem = 7 * 7 * 3 * 64 + 64 * 64 + 9 * 64 * 192 + 3 * (64 + 64 + 192)
    assert first.trained_parameters == whole - stem + 1025 * 10
    assert last.trained_parameters == 1025 * 10
    assert (last.trained_multiplications, last.feature_shape) == (0, (1024,))
    totals = {one.frozen_multiplications + one.trained_multiplications for one in found.values()}
    assert len(totals) == 1


def candidate(label, network, accuracies, work=100):
    """Of accuracies, each with an interval of 0.02 to both sides."""
    cuts = [
        comparison.Cut(
            block=f"b{place}",
            trainable_from=f"b{place + 1}",
            channels=1,
            accuracy=comparison.Accuracy(
                correct=0, images=1, value=value, low=value - 0.02, high=value + 0.02
            ),
            strength=1,
            probe_seconds=0,
            frozen_seconds=0,
            cost=comparison.Cost(
                frozen_multiplications=place,
                trained_multiplications=work - place,
                trained_parameters=0,
                feature_shape=(1,),
                feature_bytes=1,
            ),
        )
        for place, value in enumerate(accuracies)
    ]
    return comparison.Candidate(
        label=label, handle=label, network=network, fingerprint="", pass_seconds=0, cuts=cuts
    )


@pytest.mark.parametrize(
    ("accuracies", "trainable_from"),
    [
        ((0.5, 0.70, 0.69, 0.63, 0.44), "b3"),
        ((0.5, 0.70, 0.60, 0.685), "b4"),
        ((0.9, 0.7), "b1"),
        ((0.7, 0.7), "b2"),
    ],
)
def test_the_latest_cut_within_the_best_ones_interval_is_advised(accuracies, trainable_from):
    one = candidate("A", "a", accuracies)
    assert comparison.advised(one).trainable_from == trainable_from
    assert f"trainable_from={trainable_from}." in comparison.advice(one)


def test_of_networks_as_good_the_smallest_is_advised():
    large, small = candidate("large", "a", (0.7, 0.6), 100), candidate("small", "b", (0.69,), 10)
    worse = candidate("worse", "c", (0.5,), 1)
    assert comparison.advised_candidate([large, small, worse]) is small
    assert comparison.advised_candidate([large, worse]) is large


def test_the_command_prints_and_writes_every_cut(run_command, module, records, place):
    status, out, err = run_command(
        *("backbone", "compare", module, "scratch_cnn=standin", "--config", "digits"),
        *("--sample", 200, "image.size=32", f"root={place}", f"cache={place / 'cache'}"),
    )
    assert (status, "Traceback" in err) == (0, False), err
    folder = place / "reviews"
    assert (folder / "backbones.png").read_bytes().startswith(b"\x89PNG")
    with (folder / "backbones.csv").open() as file:
        rows = list(csv.DictReader(file))
    written = json.loads((folder / "backbones.json").read_text())
    assert (written["train"], written["validation"]) == (200, 142)
    assert [row["frozen_up_to"] for row in rows] == [
        *(block.name for block in INCEPTION_V1.blocks),
        *("stem", "Conv2d_2", "Dense_3"),
    ]
    assert [row["trainable_from"] for row in rows if row["network"] == "scratch_cnn"] == [
        *("Conv2d_2", "Dense_3", "head")
    ]
    assert max(float(row["accuracy"]) for row in rows) > 0.8
    assert all(row["frozen_up_to"] in out for row in rows)
    assert "InceptionV1, mine: linear probes advise backbone.trainable_from=" in out
    assert "Of these networks they advise" in " ".join(out.split())
    assert "training from an earlier block on can be more accurate" in " ".join(out.split())


def test_a_bad_place_or_network_is_one_line_before_any_work(run_command, module, tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, part in (
        ((module, "--save", tmp_path / "file", "image.size=32"), "Cannot write to"),
        ((f"scratch_cnn={module}", "image.size=32"), "Another network"),
        ((module, "image.size=16"), "at least 32 pixels"),
    ):
        status, out, err = run_command(
            *("backbone", "compare", *arguments, "--config", "digits", f"root={tmp_path / 'r'}"),
        )
        assert (status, err.count("\n")) == (1, 1), err
        assert part in err
        assert "Converting" not in err
