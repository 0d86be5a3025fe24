import numpy as np
import pytest
import tensorflow as tf

from components import features
from components.errors import UserError
from trainer import input_fn


def read(examples, transform, **changes):
    arguments = {"batch_size": 4, "training": False, "shuffle_buffer": 100, "seed": 0}
    return input_fn.read_batches([examples.pattern], transform, **{**arguments, **changes})


def first_labels(dataset, batches):
    return [labels.numpy().tolist() for _, labels in dataset.take(batches)]


def test_counting(examples):
    assert input_fn.count_examples([examples.pattern]) == len(examples.labels)


def test_no_files_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="None match: .*nothing"):
        input_fn.count_examples([str(tmp_path / "nothing*")])


def test_evaluation_reads_everything_once_in_order(examples, transform_output):
    batches = list(read(examples, transform_output).as_numpy_iterator())
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), examples.labels)
    images = np.concatenate([b[0] for b in batches])
    assert images.shape == (10, 75, 75, 3) and images.dtype == np.float32
    # Each example is a constant picture, so its value survives crop and resizing exactly.
    np.testing.assert_allclose(images[:, 40, 40, 0], examples.levels / 127.5 - 1, atol=1e-6)


def test_training_shuffles_by_the_seed_and_anew_in_each_epoch(examples, transform_output):
    one, same, other = (
        first_labels(read(examples, transform_output, training=True, batch_size=5, seed=seed), 4)
        for seed in (1, 1, 2)
    )
    assert one == same != other
    assert sorted(one[0] + one[1]) == sorted(one[2] + one[3]) == sorted(examples.labels.tolist())
    assert one[:2] != one[2:]


def test_training_batches_are_full(examples, transform_output):
    dataset = read(examples, transform_output, training=True, batch_size=3)
    assert all(len(labels) == 3 for labels in first_labels(dataset, 7))


def test_flips_are_decided_by_the_seed_and_change_about_half():
    images = tf.random.stateless_uniform([200, 4, 4, 3], [0, 0])
    flipped = input_fn._flip(images, 7, tf.constant(3, tf.int64)).numpy()
    mirrored = (flipped == images.numpy()[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (flipped == images.numpy()).all(axis=(1, 2, 3))
    assert (mirrored ^ kept).all() and 60 < mirrored.sum() < 140
    np.testing.assert_array_equal(
        flipped, input_fn._flip(images, 7, tf.constant(3, tf.int64)).numpy()
    )


def test_images_equal_what_the_serving_graph_sees(examples, transform_output):
    [(images, _)] = list(read(examples, transform_output, batch_size=10).as_numpy_iterator())
    layer = transform_output.transform_features_layer()
    served = layer({features.IMAGE_ENCODED: tf.constant(examples.encoded)})[features.IMAGE]
    np.testing.assert_array_equal(images, served)
