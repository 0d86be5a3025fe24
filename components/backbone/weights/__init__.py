"""Reads weights from the usual kinds of files, by TF-Slim's variable names."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from inception_finetune.components.backbone.network import Backbone


class Weights(NamedTuple):
    """The weights of a network in a source, without its classifier."""

    backbone: Backbone
    values: dict[str, np.ndarray]  # all variables by TF-Slim name, float32
    value_range: tuple[float, float] | None  # of the pixels that it was trained on, if it says so
    # The source's own feature vectors [B, features] of images [B, S, S, 3] in [0, 1], where the
    # source can answer; the check compares with them.
    answer: Callable[[np.ndarray], np.ndarray] | None
