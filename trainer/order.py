"""Which examples each training step takes: a function of seed and step, nothing else."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from inception_finetune.components.errors import UserError


@dataclass(frozen=True)
class TrainingOrder:
    """A new permutation of all examples in every epoch, each in a view chosen at random.

    Batches are full: the examples left over at the end of an epoch are skipped in it. A run can
    continue from any step, and cached and online training see the same order.

    Raises:
      UserError: there are fewer examples than a batch takes.
    """

    examples: int
    views: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.examples < self.batch_size:
            raise UserError(
                f"Train split of {self.examples} examples does not fill one batch of "
                f"training.batch_size={self.batch_size}. Lower training.batch_size."
            )

    @property
    def steps_per_epoch(self) -> int:
        """Number of full batches in an epoch."""
        return self.examples // self.batch_size

    def batch(self, step: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Returns the batch of a step.

        Args:
          step: number of the step, from 0.

        Returns:
          Examples and views, ``[batch_size]`` int64 each.
        """
        epoch, index = divmod(step, self.steps_per_epoch)
        examples, views = _epoch(self, epoch)
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return examples[part], views[part]


@lru_cache(maxsize=2)  # readers may work at the end of one epoch and the start of the next
def _epoch(order: TrainingOrder, epoch: int) -> tuple[npt.NDArray, npt.NDArray]:
    random = np.random.default_rng([order.seed, epoch])
    examples = random.permutation(order.examples)
    return examples, random.integers(order.views, size=order.examples)
