"""What a model says to pictures. Imports no framework: exported files answer without one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Answers(NamedTuple):
    """Of a model to N pictures."""

    shares: npt.NDArray[np.float32]  # [N, classes], the probabilities
    errors: Sequence[str]  # why each picture cannot be read; "" where it can
    # [N, classes] and [N]; None where the model does not say it.
    in_set: npt.NDArray[np.bool_] | None = None  # whether a class is in the prediction set
    unknown: npt.NDArray[np.bool_] | None = None  # whether a picture is unlike the trained ones
