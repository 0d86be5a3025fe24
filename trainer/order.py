"""Which examples each training step takes: a function of seed and step, nothing else."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inception_finetune.components.errors import UserError
from inception_finetune.components.image.augmentation import DRAWS

_DRAWS_STREAM = 1  # of the random numbers of a step


class Selection(NamedTuple):
    """Examples of a batch, and how each is shown."""

    examples: npt.NDArray[np.int64]  # [B]
    views: npt.NDArray[np.int64]  # [B]
    draws: npt.NDArray[np.float32]  # [B, DRAWS] in [0, 1), for views that are drawn at each step

    def take(self, places: npt.NDArray[np.int64] | slice) -> "Selection":
        """Returns a part of the batch."""
        return Selection(self.examples[places], self.views[places], self.draws[places])


@dataclass(frozen=True, eq=False)  # told apart by identity, for the cache below
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
    # Chance of each example, [examples], where they are drawn instead of all taken once.
    chances: npt.NDArray[np.float64] | None = None

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

    def batch(self, step: int) -> Selection:
        """Returns the batch of a step.

        Args:
          step: number of the step, from 0.
        """
        epoch, index = divmod(step, self.steps_per_epoch)
        examples, views = _epoch(self, epoch)
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        random = np.random.default_rng([self.seed, step, _DRAWS_STREAM])
        draws = random.random((self.batch_size, DRAWS), np.float32)
        return Selection(examples[part], views[part], draws)


@lru_cache(maxsize=2)  # readers may work at the end of one epoch and the start of the next
def _epoch(order: TrainingOrder, epoch: int) -> tuple[npt.NDArray, npt.NDArray]:
    random = np.random.default_rng([order.seed, epoch])
    if order.chances is None:
        examples = random.permutation(order.examples)
    else:
        examples = random.choice(order.examples, size=order.examples, p=order.chances)
    return examples, random.integers(order.views, size=order.examples)
