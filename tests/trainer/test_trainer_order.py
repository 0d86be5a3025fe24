import numpy as np
import pytest

from inception_finetune.components.errors import UserError
from inception_finetune.trainer.order import TrainingOrder


def epoch(order: TrainingOrder, number: int):
    steps = range(number * order.steps_per_epoch, (number + 1) * order.steps_per_epoch)
    examples, views, _ = zip(*(order.batch(step) for step in steps), strict=True)
    return np.concatenate(examples), np.concatenate(views)


def test_an_epoch_sees_every_example_once_and_each_epoch_is_another_order():
    order = TrainingOrder(examples=12, views=1, batch_size=4, seed=3)
    first, second = epoch(order, 0)[0], epoch(order, 1)[0]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first.tolist() != second.tolist()


def test_any_step_can_be_asked_for_by_itself():
    order = TrainingOrder(examples=50, views=3, batch_size=8, seed=3)
    forwards = [order.batch(step) for step in range(30)]
    for step in reversed(range(30)):
        for part, same in zip(order.batch(step), forwards[step], strict=True):
            np.testing.assert_array_equal(part, same)


def test_batches_are_full_and_leftovers_wait():
    order = TrainingOrder(examples=10, views=1, batch_size=4, seed=0)
    assert order.steps_per_epoch == 2
    assert all(len(order.batch(step)[0]) == 4 for step in range(20))


def test_the_seed_decides():
    orders = [TrainingOrder(100, 2, 50, seed) for seed in (1, 1, 2)]
    one, same, other = (order.batch(0)[0].tolist() for order in orders)
    assert one == same != other


def test_views_are_chosen_evenly_and_anew():
    order = TrainingOrder(examples=3000, views=3, batch_size=3000, seed=0)
    first, second = order.batch(0)[1], order.batch(1)[1]
    assert np.bincount(first).tolist() == pytest.approx([1000] * 3, rel=0.1)
    assert first.tolist() != second.tolist()


def test_fewer_examples_than_a_batch_are_refused():
    with pytest.raises(UserError, match="of 3 examples does not fill one batch .*batch_size=4"):
        TrainingOrder(examples=3, views=1, batch_size=4, seed=0)
