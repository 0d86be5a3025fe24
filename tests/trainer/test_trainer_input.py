from types import SimpleNamespace

import numpy as np
import pytest

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.image.augmentation import augment
from inception_finetune.components.image.settings import Augmentation, TrainViews
from inception_finetune.trainer import input_fn
from inception_finetune.trainer.examples import open_inputs
from inception_finetune.trainer.order import TrainingOrder


@pytest.fixture
def source(examples, transform_output, tmp_path):
    return input_fn.ImageSource([examples.pattern], transform_output, tmp_path)


def test_no_files_is_one_clear_line(transform_output, tmp_path):
    with pytest.raises(UserError, match="none match .*nothing"):
        input_fn.ImageSource([str(tmp_path / "nothing*")], transform_output, tmp_path)


def test_evaluation_reads_everything_once_in_order(source, examples):
    batches = list(source.batches(4).as_numpy_iterator())
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), examples.labels)
    images = np.concatenate([b[0] for b in batches])
    assert images.shape == (10, 75, 75, 3) and images.dtype == np.float32
    # Each example is a constant picture, so its value survives crop and resizing exactly.
    np.testing.assert_allclose(images[:, 40, 40, 0], examples.levels / 127.5 - 1, atol=1e-6)


def test_training_reads_what_the_order_says_from_any_step_on(source, examples):
    order = TrainingOrder(len(source), 1, batch_size=4, seed=5)
    batches = list(input_fn.training_batches(source, order, 3, 9, classes=10).as_numpy_iterator())
    assert len(batches) == 6
    for step, (images, targets) in enumerate(batches, start=3):
        chosen = order.batch(step)[0]
        np.testing.assert_array_equal(targets, np.eye(10)[examples.labels[chosen]])
        np.testing.assert_allclose(
            images[:, 0, 0, 0], examples.levels[chosen] / 127.5 - 1, atol=1e-6
        )


def test_random_views_are_drawn_by_step_and_place_and_validation_has_none(
    source, examples, transform_output, tmp_path
):
    (tmp_path / "views").mkdir()
    views = TrainViews(views=(), random_views=1, augmentation=Augmentation(flip=1.0, erase=1.0))
    seen = input_fn.ImageSource([examples.pattern], transform_output, tmp_path / "views", views)
    order = TrainingOrder(len(seen), seen.views, batch_size=5, seed=2)
    [(images, _)] = input_fn.training_batches(seen, order, 7, 8, classes=10).as_numpy_iterator()
    chosen, _, draws = order.batch(7)
    [(served, _)] = source.batches(10).as_numpy_iterator()
    expected = augment(served[chosen], draws, views.augmentation)
    np.testing.assert_allclose(images, expected, atol=1e-5)
    assert not np.array_equal(draws, order.batch(8).draws)


def test_images_equal_what_the_serving_graph_sees(source, examples, transform_output):
    import tensorflow as tf

    [(images, _)] = list(source.batches(10).as_numpy_iterator())
    layer = transform_output.transform_features_layer()
    served = layer({features.IMAGE_ENCODED: tf.constant(examples.encoded)})[features.IMAGE]
    np.testing.assert_array_equal(images, served)


def test_validation_images_are_streamed_and_copied_nowhere(
    source, examples, transform_output, tmp_path
):
    settings = SimpleNamespace(views=TrainViews())
    files, scratch = [examples.pattern], tmp_path / "scratch"
    scratch.mkdir()
    with open_inputs(files, files, settings, transform_output, scratch, 4) as opened:
        [train] = scratch.iterdir()
        assert train.stat().st_size == sum(len(one) + 16 for one in examples.serialized)
        assert opened.pictures is opened.validation
        for found, expected in zip(opened.validation.batches(4), source.batches(4), strict=True):
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])
        [(first, _)] = opened.pictures.batches(4, 3)
        assert len(first) == 3 and len(opened.digests()[1]) == 64
