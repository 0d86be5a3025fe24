"""Maps of where a network looks: against arithmetic, a planted mark, and random weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from scipy import stats

from inception_finetune.components import features
from inception_finetune.components.backbone.keras_network import build_network
from inception_finetune.components.backbone.network import explained_block
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.infra_validator.serving_ops import find_unknown_operations
from inception_finetune.components.io.warm_up import read_warm_up, write_warm_up
from inception_finetune.trainer import signatures
from inception_finetune.trainer.confidence import Confidence
from inception_finetune.trainer.explanation import GradCam
from inception_finetune.trainer.model import build_classifier
from inception_finetune.trainer.settings import Training

SIZE, MARK, CROP = 32, 8, 0.875  # pixels; of the side that the mark lies in; of each side
LABELS = ("plain", "marked")


def test_at_the_last_block_it_is_the_class_activation_map():
    """Zhou et al.: the head's weights of the class times what each position has, if positive."""
    output, vector = keras.Input([4, 5, 6]), keras.Input([4, 5, 6])
    below = keras.Model(output, keras.layers.Identity()(output))
    head = keras.layers.Dense(3, bias_initializer="normal")
    above = keras.Model(vector, head(keras.layers.GlobalAveragePooling2D()(vector)))
    values = np.random.default_rng(0).normal(size=(7, 4, 5, 6)).astype("f4")
    logits, maps = GradCam(below, above)(tf.constant(values))
    kernel, bias = head.get_weights()
    np.testing.assert_allclose(logits, values.mean(axis=(1, 2)) @ kernel + bias, atol=1e-5)
    labels = np.array([0, 1, 2, 0, 1, 2, 2])
    expected = np.maximum(np.einsum("nhwc,cn->nhw", values, kernel[:, labels]), 0)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(maps(tf.constant(labels)), expected, atol=1e-5)


def test_where_nothing_speaks_for_the_class_the_map_is_zero():
    output, vector = keras.Input([2, 2, 1]), keras.Input([2, 2, 1])
    below = keras.Model(output, keras.layers.ReLU()(output))
    mean = keras.layers.GlobalAveragePooling2D()(vector)
    against = keras.layers.Dense(2, kernel_initializer=keras.initializers.Constant(-1))
    above = keras.Model(vector, against(mean))
    _, maps = GradCam(below, above)(tf.ones([1, 2, 2, 1]))
    assert maps(tf.constant([0])).numpy().tolist() == [[[0, 0], [0, 0]]]


@pytest.mark.parametrize(
    ("network", "size", "block"),
    [
        ("inception_v3", 299, "Mixed_7c"),
        ("inception_v3", 139, "Mixed_6e"),
        ("inception_v3", 75, "Mixed_5d"),
        ("inception_v1", 32, "Mixed_5c"),  # not one has 7 x 7 positions
        ("inception_resnet_v2", 299, "Conv2d_7b_1x1"),
        ("scratch_cnn", 32, "Conv2d_2"),
    ],
)
def test_the_map_is_that_of_the_last_block_that_is_fine_enough(network, size, block):
    assert explained_block(NETWORKS[network], size, "auto") == block


def test_a_block_that_the_network_lacks_is_refused():
    assert explained_block(NETWORKS["inception_v3"], 139, "Mixed_7c") == "Mixed_7c"
    with pytest.raises(ValueError, match=r"explain.block is Mixed_9z, which inception_v3 does not"):
        explained_block(NETWORKS["inception_v3"], 139, "Mixed_9z")


@pytest.mark.parametrize(
    ("trainable_from", "block"),
    [
        ("Mixed_6a", "stem"),
        ("Mixed_6a", "Mixed_5d"),  # where it is cut
        ("Mixed_5b", "Mixed_5d"),
        ("head", "Mixed_7c"),
        ("all", "Mixed_5b"),
    ],
)
def test_the_network_is_parted_at_any_block_wherever_it_is_cut(inception, trainable_from, block):
    classifier = build_classifier(
        NETWORKS["inception_v3"],
        inception,
        trainable_from,
        classes=3,
        fresh=False,
        training=Training(),
    )
    below, above = classifier.split_after(block)
    assert below.output_shape == inception.get_layer(block).output_shape
    images = np.random.default_rng(0).uniform(-1, 1, [1, 75, 75, 3]).astype("f4")
    expected = classifier.network(images, training=False)
    found = above(below(images, training=False), training=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def inception():
    keras.utils.set_random_seed(0)
    return build_network(NETWORKS["inception_v3"], 75)


def made_pictures(count: int, seed: int, marked: np.ndarray) -> np.ndarray:
    """Dull noise ``[N, 32, 32, 3]`` uint8, some with a white square in the upper left corner."""
    pictures = np.random.default_rng(seed).integers(60, 180, (count, SIZE, SIZE, 3)).astype("u1")
    pictures[marked, :MARK, :MARK] = 255
    return pictures


@dataclass
class Trained:
    """A network that has learned to go by the mark, served, and marked pictures it never saw."""

    loaded: Any
    directory: str
    encoded: tf.Tensor

    def explained(self) -> dict[str, np.ndarray]:
        answer = self.loaded.signatures[features.EXPLAIN_IMAGES](images=self.encoded)
        return {key: value.numpy() for key, value in answer.items()}


@pytest.fixture(scope="module")
def trained(transform_at, tmp_path_factory) -> Trained:
    keras.utils.set_random_seed(0)
    images, output = keras.Input([SIZE, SIZE, 3]), keras.Input([8, 8, 16])
    flow = keras.layers.Conv2D(16, 4, 4, activation="relu")(images)
    below = keras.Model(images, flow)
    flow = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(output)
    vector = keras.layers.GlobalAveragePooling2D()(flow)
    middle = keras.Model(output, [vector, keras.layers.Dense(2)(vector)])
    above, network = (
        keras.Model(output, middle.outputs[1]),
        keras.Model(images, middle(below(images))),
    )
    trainee = keras.Model(images, above(below.output))
    labels = np.arange(512) % 2
    shown = made_pictures(512, 0, labels == 1) / np.float32(127.5) - 1
    shown[::3] = shown[::3, :, ::-1]  # the served model is asked about mirrored views too
    trainee.compile(
        keras.optimizers.legacy.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(True)
    )
    trainee.fit(shown, labels, batch_size=32, epochs=20, verbose=0)
    directory = str(tmp_path_factory.mktemp("explained") / "1")
    model = signatures.ServingModel(
        network,
        transform_at(SIZE),
        LABELS,
        ("identity", "flip_left_right"),
        Confidence(temperature=2.0, smallest_in_set=None, novelty=None),
        GradCam(below, above),
        central_crop=CROP,
    )
    signatures.export(model, directory)
    pictures = made_pictures(40, 1, np.arange(40) < 36)
    encoded = tf.constant([encode_png(one) for one in pictures])
    return Trained(tf.saved_model.load(directory), directory, encoded)


def test_the_answer_is_that_of_predict_images(trained):
    found = trained.explained()
    answer = trained.loaded.signatures["predict_images"](images=trained.encoded)
    for key in (features.LABEL_ID, features.LABEL_NAME, features.ERROR):
        np.testing.assert_array_equal(found[key], answer[key])
    shares = answer[features.PROBABILITIES].numpy().max(axis=1)
    np.testing.assert_allclose(found[features.PROBABILITY], shares, atol=1e-6)
    assert found[features.LABEL_NAME].tolist() == [b"marked"] * 36 + [b"plain"] * 4
    maps = found[features.MAP]
    assert maps.shape == (40, 8, 8) and maps.dtype == np.float32
    assert maps.min() == 0 and set(maps.max(axis=(1, 2))) <= {0.0, 1.0}
    np.testing.assert_allclose(found[features.BOX], [[0.0625, 0.0625, 0.9375, 0.9375]] * 40)


def test_the_map_lies_on_the_planted_mark(trained):
    """Of the 28 pixels a side that are left, the mark has 6; the map's 2 x 2 are 1/16 of it."""
    maps = trained.explained()[features.MAP][:36]
    energy = maps[:, :2, :2].sum(axis=(1, 2)) / maps.sum(axis=(1, 2))
    assert energy.mean() > 0.8 and energy.min() > 0.5


def test_random_weights_give_other_maps(trained):
    """Adebayo et al., "Sanity Checks for Saliency Maps" (2018)."""
    before = trained.explained()[features.MAP][:36]
    other = tf.saved_model.load(trained.directory)
    random = np.random.default_rng(0)
    for variable in other.network_variables:
        variable.assign(random.permutation(variable.numpy().ravel()).reshape(variable.shape))
    after = Trained(other, "", trained.encoded).explained()[features.MAP][:36]
    ranks = [
        stats.spearmanr(one.ravel(), two.ravel()).statistic
        for one, two in zip(before, after, strict=True)
        if one.any() and two.any()
    ]
    assert len(ranks) > 10 and abs(np.mean(ranks)) < 0.3


def test_pictures_that_cannot_be_read_do_not_harm_the_others(trained):
    explain = trained.loaded.signatures[features.EXPLAIN_IMAGES]
    whole = trained.explained()
    answer = explain(images=tf.concat([[b"no picture"], trained.encoded], axis=0))
    assert not answer[features.MAP][0].numpy().any() and answer[features.LABEL_ID][0] == -1
    assert answer[features.LABEL_NAME][0] == b"" and answer[features.PROBABILITY][0] == 0
    assert b"whole PNG or JPEG" in answer[features.ERROR][0].numpy()
    np.testing.assert_allclose(answer[features.MAP][1:], whole[features.MAP], atol=1e-5)
    none = explain(images=tf.constant([], tf.string))
    assert none[features.MAP].shape == (0, 8, 8) and none[features.BOX].shape == (0, 4)


def test_the_signature_is_warmed_up_before_a_server_is_ready(trained, tmp_path):
    """The requests are for all signatures that people ask for classes, and the model answers."""
    write_warm_up(tmp_path, size=SIZE, explains=True)
    answers = {
        signature: trained.loaded.signatures[signature](**inputs)
        for signature, inputs in read_warm_up(tmp_path)
    }
    assert set(answers) == set(trained.loaded.signatures) - {"embed_images", "transform_features"}
    assert answers[features.EXPLAIN_IMAGES][features.ERROR].numpy().tolist() == [b""]


def test_the_oldest_promised_server_has_its_operations(trained):
    assert find_unknown_operations(Path(trained.directory)) == ()
