"""Which examples each training step sees: a function of seed and step, nothing else."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from inception_finetune.components.errors import UserError


@dataclass(frozen=True)
class TrainingOrder:
    """Every epoch is a new permutation of all examples, each in a view chosen at random.

    Batches are full: the examples that are left over at the end of an epoch wait for another one.
    A run can go on from any step, and cached and online training see the same order.
    """

    examples: int
    views: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.examples < self.batch_size:
            raise UserError(
                f"the train split must fill one batch. Received: {self.examples} examples, "
                f"training.batch_size={self.batch_size}; lower training.batch_size"
            )

    @property
    def steps_per_epoch(self) -> int:
        return self.examples // self.batch_size

    def batch(self, step: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Examples and views ``[batch_size]`` of a step, counted from 0."""
        epoch, index = divmod(step, self.steps_per_epoch)
        examples, views = _epoch(self, epoch)
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return examples[part], views[part]


@lru_cache(maxsize=2)  # readers may work at the end of one epoch and the start of the next
def _epoch(order: TrainingOrder, epoch: int) -> tuple[npt.NDArray, npt.NDArray]:
    random = np.random.default_rng([order.seed, epoch])
    examples = random.permutation(order.examples)
    return examples, random.integers(order.views, size=order.examples)
