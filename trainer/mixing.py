"""MixUp and CutMix: examples that are blends of two, of images and of stored features alike.

MixUp: https://arxiv.org/abs/1710.09412; CutMix: https://arxiv.org/abs/1905.04899. On stored
features this is Manifold Mixup, https://arxiv.org/abs/1806.05236, at the cut.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from inception_finetune.trainer.settings import Training

_STREAM = 2  # of the random numbers of a step
_IMAGE_RANK = 4


class Mix(NamedTuple):
    """Which pairs of a batch are blended, and how."""

    partner: npt.NDArray[np.int64]  # [B], place in the batch of each example's other
    share: npt.NDArray[np.float32]  # [B], of the example itself, for MixUp
    is_cut: npt.NDArray[np.bool_]  # [B], CutMix instead of MixUp
    # [B, 4], top, left, bottom and right as shares of the sides: what CutMix takes of the other.
    box: npt.NDArray[np.float32]

    def pairs(self, part: slice) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Lists which examples of the batch a part of it is blended of, each once.

        Returns:
          Their places in the batch, and where among these the part's examples and their partners
          are, ``[2, B]``.
        """
        own = np.arange(len(self.partner))[part]
        needed, pairs = np.unique(np.stack([own, self.partner[part]]), return_inverse=True)
        return needed, pairs.reshape(2, -1).astype(np.int64)


@dataclass(frozen=True)
class Mixing:
    """Draws a `Mix` for each step: a function of seed, step and place in the batch."""

    mixup: float  # alpha of the beta distribution that shares are drawn from; 0 for none
    cutmix: float
    seed: int

    @classmethod
    def of(cls, training: Training) -> "Mixing | None":
        """Returns what the settings ask for, or None if no examples are blended."""
        if not training.mixup and not training.cutmix:
            return None
        return cls(training.mixup, training.cutmix, training.seed)

    def plan(self, step: int, batch_size: int) -> Mix:
        """Draws the blends of a batch; with both kinds, each example has either by even chances.

        Args:
          step: number of the step, from 0.
          batch_size: examples in the whole batch.
        """
        random = np.random.default_rng([self.seed, step, _STREAM])
        places = np.arange(batch_size)
        partner = (places + random.integers(1, max(2, batch_size))) % batch_size
        is_cut = random.random(batch_size) < (0.5 if self.mixup and self.cutmix else 1.0)
        is_cut &= self.cutmix > 0
        alpha = np.where(is_cut, self.cutmix, self.mixup)
        share = random.beta(alpha, alpha)
        half = np.sqrt(1 - share)[:, None] / 2
        centre = random.random((batch_size, 2))
        box = np.concatenate([centre - half, centre + half], axis=1).clip(0, 1)
        return Mix(partner, share.astype(np.float32), is_cut, box.astype(np.float32))


def blend(
    inputs: tf.Tensor,
    targets: tf.Tensor,
    pairs: tf.Tensor,
    share: tf.Tensor,
    is_cut: tf.Tensor,
    box: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Blends examples with their partners.

    CutMix counts the cells whose centres lie in the box, so that targets are weighed by what was
    really taken, however coarse the grid.

    Args:
      inputs: ``[N, h, w, channels]``; or ``[N, features]`` where nothing is cut.
      targets: probabilities of each class, ``[N, classes]`` float32.
      pairs: ``[2, B]`` int64, where each example and its partner are.
      share: as in `Mix`.
      is_cut: as in `Mix`.
      box: as in `Mix`.

    Returns:
      Blended inputs ``[B, ...]``, in their dtype, and targets ``[B, classes]``.
    """
    first, second = (tf.cast(tf.gather(inputs, places), tf.float32) for places in tf.unstack(pairs))
    ones = [1] * (inputs.shape.rank - 1)
    taken = tf.reshape(1 - share, [-1, *ones])  # of the partner, in each cell
    if inputs.shape.rank == _IMAGE_RANK:
        cells = _inside(box, inputs.shape[1], inputs.shape[2])
        share = tf.where(is_cut, 1 - tf.reduce_mean(cells, axis=[1, 2]), share)
        taken = tf.where(tf.reshape(is_cut, [-1, *ones]), cells[..., None], taken)
    own_target, other_target = (tf.gather(targets, places) for places in tf.unstack(pairs))
    return (
        tf.cast(first + taken * (second - first), inputs.dtype),
        share[:, None] * own_target + (1 - share[:, None]) * other_target,
    )


def _inside(box: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Tells which cells have their centres in the box: ``[B, height, width]`` float32, 0 or 1."""
    top, left, bottom, right = (edge[:, None] for edge in tf.unstack(box, axis=1))
    rows, columns = (
        (tf.range(length, dtype=tf.float32) + 0.5) / length for length in (height, width)
    )
    in_rows = (rows >= top) & (rows < bottom)
    in_columns = (columns >= left) & (columns < right)
    return tf.cast(in_rows[:, :, None] & in_columns[:, None, :], tf.float32)
