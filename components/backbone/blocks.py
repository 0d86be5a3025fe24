"""The elements of a network's table: convolutions, poolings, forks and residuals, in blocks.

Does not need TensorFlow.
"""

from dataclasses import dataclass
from typing import Final, Literal

Padding = Literal["SAME", "VALID"]
KERNEL: Final = ("weights",)
BIAS: Final = ("biases",)
BATCH_NORM: Final = ("BatchNorm/beta", "BatchNorm/moving_mean", "BatchNorm/moving_variance")


@dataclass(frozen=True)
class Convolution:
    """A convolution without bias, then batch normalisation without scale, then ReLU.

    With `has_bias` a bias replaces the normalisation; `relu` tells whether a ReLU follows.
    `depth_multiplier` makes it separable: so many filters for each input channel by itself, then a
    1x1 convolution over all of them.
    """

    name: str
    kernel: tuple[int, int] | None  # height and width; None is as large as its input
    filters: int
    stride: int = 1
    padding: Padding = "SAME"
    depth_multiplier: int | None = None
    has_bias: bool = False
    relu: bool = True

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Suffixes of its variables' names below its scope, in TF-Slim's order of creation."""
        kernels = ("depthwise_weights", "pointwise_weights") if self.depth_multiplier else KERNEL
        return (*kernels, *(BIAS if self.has_bias else BATCH_NORM))


@dataclass(frozen=True)
class Pooling:
    """Pooling over a square window; average pooling leaves the padding out of its mean."""

    kind: Literal["MAX", "AVG"]
    size: int = 3
    stride: int = 1
    padding: Padding = "SAME"


@dataclass(frozen=True)
class Fork:
    """Convolutions of the same input, whose outputs are concatenated."""

    convolutions: tuple[Convolution, ...]


Step = Convolution | Pooling | Fork
Branch = tuple[Step, ...]


@dataclass(frozen=True)
class Residual:
    """``input + scale * projection(branches)``; the projection has as many filters as the input."""

    projection: Convolution
    scale: float
    relu: bool = True


@dataclass(frozen=True)
class Block:
    """Branches of the same input; then, if there is one, the residual; then steps.

    `scope` is the prefix of its variables' names, such as ``Mixed_5b/``. Each of several branches
    has a scope of its own below it, ``Branch_0/`` and so on.
    """

    name: str
    branches: tuple[Branch, ...]
    scope: str
    residual: Residual | None = None
    then: Branch = ()
