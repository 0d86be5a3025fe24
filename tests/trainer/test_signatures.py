import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from scipy import special

from inception_finetune.components import features
from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.evaluation.confidence import Novelty
from inception_finetune.trainer import signatures
from inception_finetune.trainer.confidence import Confidence

LABELS = ("cat", "dog", "ship")


class Brightness(keras.layers.Layer):
    """A network whose answer is known: logits are 10 x the mean pixel, 0, and its negative.

    What its head is given is each colour's mean. Like a convolution, it refuses a batch of none.
    """

    def call(self, images):
        with tf.control_dependencies([tf.debugging.assert_positive(tf.shape(images)[0])]):
            means = tf.reduce_mean(images, axis=[1, 2])
        mean = tf.reduce_mean(images, axis=[1, 2, 3])
        return means, 10 * tf.stack([mean, tf.zeros_like(mean), -mean], axis=1)


@pytest.fixture(scope="module")
def served(transform_output, tmp_path_factory):
    image = keras.Input([75, 75, 3])
    network = keras.Model(image, Brightness()(image))
    directory = str(tmp_path_factory.mktemp("export") / "model")
    signatures.export(
        signatures.ServingModel(network, transform_output, LABELS, central_crop=0.875), directory
    )
    return tf.saved_model.load(directory).signatures


def expected(levels):
    mean = np.asarray(levels) / 127.5 - 1
    logits = 10 * np.stack([mean, 0 * mean, -mean], axis=1)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_bytes_give_probabilities_id_and_name(served, examples):
    answer = served["predict_images"](images=tf.constant(examples.encoded))
    np.testing.assert_allclose(answer[features.PROBABILITIES], expected(examples.levels), atol=1e-5)
    dark, light = np.argmin(examples.levels), np.argmax(examples.levels)
    assert answer[features.LABEL_NAME].numpy()[[dark, light]].tolist() == [b"ship", b"cat"]
    assert answer[features.LABEL_ID].numpy()[[dark, light]].tolist() == [2, 0]


def test_both_signatures_answer_alike_and_labels_are_not_needed(served, examples):
    bare = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    features.IMAGE_ENCODED: tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[encoded])
                    )
                }
            )
        ).SerializeToString()
        for encoded in examples.encoded
    ]
    from_images = served["predict_images"](images=tf.constant(examples.encoded))
    for serialized in (bare, examples.serialized):
        answer = served["serving_default"](examples=tf.constant(serialized))
        for key in (features.PROBABILITIES, features.LABEL_ID, features.LABEL_NAME):
            np.testing.assert_array_equal(answer[key], from_images[key])


@pytest.mark.parametrize("count", [1, 31, 32, 33, 70])
def test_every_batch_size_gives_the_same_answer_for_each_image(served, examples, count):
    encoded = [examples.encoded[i % 10] for i in range(count)]
    answer = served["predict_images"](images=tf.constant(encoded))
    levels = [examples.levels[i % 10] for i in range(count)]
    np.testing.assert_allclose(answer[features.PROBABILITIES], expected(levels), atol=1e-5)


@pytest.fixture(scope="module")
def confident(transform_output):
    """`served`, with a temperature of 2, sets from a probability of 0.3 on, and a distance.

    What its head is given, the three colours' means, varies in the first alone.
    """
    novelty = Novelty(np.array([-1, -1, -1], "f4"), np.eye(3, 1, dtype="f4"), threshold=0.5)
    image = keras.Input([75, 75, 3])
    network = keras.Model(image, Brightness()(image))
    said = Confidence(temperature=2.0, smallest_in_set=0.3, novelty=novelty)
    return signatures.ServingModel(
        network, transform_output, LABELS, confidence=said, central_crop=0.875
    )


def test_a_temperature_softens_probabilities_and_changes_no_label(confident, served, examples):
    encoded = tf.constant(examples.encoded)
    hot, cold = confident.predict_images(encoded), served["predict_images"](images=encoded)
    logits = np.log(cold[features.PROBABILITIES])
    np.testing.assert_allclose(
        hot[features.PROBABILITIES], special.softmax(logits / 2, axis=1), atol=1e-5
    )
    np.testing.assert_array_equal(hot[features.LABEL_ID], cold[features.LABEL_ID])
    assert not {features.IN_SET, features.DISTANCE, features.UNKNOWN} & set(cold)


def test_sets_and_what_is_unknown_are_said_of_readable_pictures(confident, examples):
    red = np.zeros([75, 75, 3], np.uint8)
    red[..., 0] = 255
    light = examples.encoded[np.argmax(examples.levels)]
    encoded = [encode_png(red), encode_png(red[..., ::-1]), b"no picture", light]
    answer = confident.predict_images(tf.constant(encoded))
    shares = answer[features.PROBABILITIES].numpy()
    np.testing.assert_array_equal(answer[features.IN_SET], shares >= 0.3)
    assert answer[features.IN_SET].numpy().sum(axis=1)[:3].tolist() == [1, 1, 0]
    # From black, the first lies in the direction of the training's, the second across it, and a
    # grey one in all three.
    expected = [0.0, 1.0, 0.0, np.sqrt(2 / 3)]
    np.testing.assert_allclose(answer[features.DISTANCE], expected, atol=1e-3)
    assert answer[features.UNKNOWN].numpy().tolist() == [False, True, False, True]


class LeftHalf(keras.layers.Layer):
    """Logits are twice the mean of the left half, and 0."""

    def call(self, images):
        mean = tf.reduce_mean(images[:, :, :30], axis=[1, 2, 3])
        return images[:, 0, 0], 2 * tf.stack([mean, tf.zeros_like(mean)], axis=1)


@pytest.mark.parametrize("batch", [1, 40])
def test_the_answer_is_the_mean_of_the_answers_to_the_served_views(transform_output, batch):
    image = keras.Input([75, 75, 3])
    network = keras.Model(image, LeftHalf()(image))
    half_white = np.zeros([75, 75, 3], np.uint8)
    half_white[:, :36] = 255
    encoded = tf.constant([encode_png(half_white)] * batch)
    views = ("identity", "flip_left_right")
    model = signatures.ServingModel(
        network, transform_output, ("a", "b"), views, central_crop=0.875
    )
    [white, black] = 1 / (1 + np.exp([-2.0, 2.0]))
    for one, expected_share in ((model, (white + black) / 2), (None, white)):
        served = one or signatures.ServingModel(
            network, transform_output, ("a", "b"), central_crop=0.875
        )
        answer = served.predict_images(encoded)[features.PROBABILITIES].numpy()
        np.testing.assert_allclose(answer[:, 0], expected_share, atol=1e-5)
        np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)


def test_an_empty_batch_gives_an_empty_answer(served):
    none = tf.constant([], tf.string)
    for answer in (served["predict_images"](images=none), served["serving_default"](examples=none)):
        assert answer[features.PROBABILITIES].shape == (0, 3)
        assert answer[features.LABEL_NAME].shape == (0,)
    answer = served["embed_images"](images=none)
    assert answer[features.EMBEDDING].shape == (0, 3) and answer[features.ERROR].shape == (0,)
    answer = served["transform_features"](examples=none)
    assert answer[features.IMAGE].shape == (0, 75, 75, 3) and answer[
        features.TRANSFORMED_LABEL
    ].shape == (0,)


@pytest.mark.parametrize("count", [1, 33])
def test_vectors_are_what_the_head_is_given(served, examples, count):
    encoded = [examples.encoded[i % 10] for i in range(count)]
    answer = served["embed_images"](images=tf.constant([b"no picture", *encoded]))
    assert answer[features.EMBEDDING].dtype == tf.float32
    assert answer[features.EMBEDDING][0].numpy().tolist() == [0, 0, 0]
    levels = np.array([examples.levels[i % 10] for i in range(count)])
    expected = np.repeat(levels[:, None] / 127.5 - 1, 3, axis=1)
    np.testing.assert_allclose(answer[features.EMBEDDING][1:], expected, atol=1e-4)
    said = answer[features.ERROR].numpy()
    assert b"whole PNG or JPEG" in said[0] and said[1:].tolist() == [b""] * count


def bad_pictures(good: bytes) -> list[bytes]:
    """Not one of them is a picture; the last one says it had 20,000 x 20,000 pixels."""
    header = good[:16] + struct.pack(">II", 20_000, 20_000) + good[24:29]
    bomb = header + struct.pack(">I", zlib.crc32(header[12:])) + good[33:]
    flipped = good[:50] + bytes([good[50] ^ 0xFF]) + good[51:]
    return [b"", b"no picture", good[:5], good[:20], good[:60], flipped, bomb]


def test_pictures_that_cannot_be_read_do_not_harm_the_others(served, examples):
    bad = bad_pictures(examples.encoded[0])
    answer = served["predict_images"](images=tf.constant([*bad, *examples.encoded]))
    answer = {key: value.numpy() for key, value in answer.items()}
    count = len(bad)
    np.testing.assert_array_equal(answer[features.PROBABILITIES][:count], 0)
    assert answer[features.LABEL_ID][:count].tolist() == [-1] * count
    assert answer[features.LABEL_NAME][:count].tolist() == [b""] * count
    assert all(b"whole PNG or JPEG" in error for error in answer[features.ERROR][:count])
    np.testing.assert_allclose(
        answer[features.PROBABILITIES][count:], expected(examples.levels), atol=1e-5
    )
    assert answer[features.ERROR][count:].tolist() == [b""] * len(examples.encoded)


def test_a_picture_that_the_gate_cannot_read_is_named(served, examples):
    example = tf.train.Example.FromString(examples.serialized[0])
    example.features.feature[features.IMAGE_ENCODED].bytes_list.value[0] = b"no picture"
    serialized = [*examples.serialized[:3], example.SerializeToString(), *examples.serialized]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"not so at these places.*\[3\]"):
        served["serving_default"](examples=tf.constant(serialized))


@pytest.mark.parametrize("sides", [(32, 32), (41, 90)])
def test_decoded_pixels_get_the_answer_of_the_file(served, sides):
    pictures = np.random.default_rng(0).integers(0, 256, (4, *sides, 3)).astype(np.uint8)
    pictures[1:3] //= 8
    encoded = tf.constant([encode_png(one) for one in pictures])
    expected = served["predict_images"](images=encoded)[features.PROBABILITIES].numpy()
    answer = served[features.PREDICT_PIXELS](pixels=tf.constant(pictures))
    assert list(answer) == [features.PROBABILITIES]
    np.testing.assert_allclose(answer[features.PROBABILITIES], expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.5


def test_transform_features_are_what_the_network_is_trained_on(served, examples):
    answer = served["transform_features"](examples=tf.constant(examples.serialized))
    np.testing.assert_array_equal(answer[features.TRANSFORMED_LABEL], examples.labels)
    np.testing.assert_allclose(
        answer[features.IMAGE][:, 0, 0, 0], examples.levels / 127.5 - 1, atol=1e-6
    )
