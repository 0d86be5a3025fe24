"""InceptionV3 as a table of blocks: variable names, shapes, strides and paddings follow from it.

Names are TF-Slim's (`inception_v3_base`), order is its creation order. Does not need TensorFlow.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeVar

Padding = Literal["SAME", "VALID"]
Array = TypeVar("Array")

PREFIX: Final = "InceptionV3/"
STEM: Final = "stem"
BLOCKS: Final = (
    "Mixed_5b",
    "Mixed_5c",
    "Mixed_5d",
    "Mixed_6a",
    "Mixed_6b",
    "Mixed_6c",
    "Mixed_6d",
    "Mixed_6e",
    "Mixed_7a",
    "Mixed_7b",
    "Mixed_7c",
)
HEAD: Final = "head"
ALL: Final = "all"
TRAINABLE_FROM: Final = (*BLOCKS, HEAD, ALL)


def trainable_after(first: str) -> tuple[str, ...]:
    """What may be trained first where features are stored before `first`."""
    if first == ALL:
        return (ALL,)
    return TRAINABLE_FROM[TRAINABLE_FROM.index(first) : TRAINABLE_FROM.index(HEAD) + 1]


FEATURES: Final = 2048  # width of the globally averaged output
SMALLEST_SIZE: Final = 75  # pixels; below, the last blocks' kernels no longer fit
BATCH_NORM_EPSILON: Final = 1e-3


@dataclass(frozen=True)
class Convolution:
    """A convolution without bias, then batch normalisation without scale, then ReLU."""

    name: str
    kernel: tuple[int, int]  # the name does not tell: Mixed_6a's Conv2d_1a_1x1 are 3x3
    filters: int
    stride: int = 1
    padding: Padding = "SAME"


@dataclass(frozen=True)
class Pooling:
    """A 3x3 pooling; average pooling leaves the padding out of its mean."""

    kind: Literal["MAX", "AVG"]
    stride: int = 1
    padding: Padding = "SAME"


@dataclass(frozen=True)
class Fork:
    """Convolutions that read the same input; their outputs are concatenated."""

    convolutions: tuple[Convolution, ...]


Step = Convolution | Pooling | Fork
Branch = tuple[Step, ...]


class Block(NamedTuple):
    """Branches that read the same input; the stem is a block of one branch."""

    name: str
    branches: tuple[Branch, ...]


class Variable(NamedTuple):
    """A variable of the network, named as TF-Slim names it."""

    name: str
    shape: tuple[int, ...]


def _conv(
    name: str, height: int, width: int, filters: int, stride: int = 1, padding: Padding = "SAME"
) -> Convolution:
    return Convolution(name, (height, width), filters, stride, padding)


_MAX_POOLING: Final = Pooling("MAX", stride=2, padding="VALID")
_AVERAGE_POOLING: Final = Pooling("AVG")


def _stem() -> Block:
    return Block(
        STEM,
        (
            (
                _conv("Conv2d_1a_3x3", 3, 3, 32, stride=2, padding="VALID"),
                _conv("Conv2d_2a_3x3", 3, 3, 32, padding="VALID"),
                _conv("Conv2d_2b_3x3", 3, 3, 64),
                _MAX_POOLING,
                _conv("Conv2d_3b_1x1", 1, 1, 80, padding="VALID"),
                _conv("Conv2d_4a_3x3", 3, 3, 192, padding="VALID"),
                _MAX_POOLING,
            ),
        ),
    )


def _mixed_5(name: str, pooled: int, names_5x5: tuple[str, str]) -> Block:
    return Block(
        name,
        (
            (_conv("Conv2d_0a_1x1", 1, 1, 64),),
            (_conv(names_5x5[0], 1, 1, 48), _conv(names_5x5[1], 5, 5, 64)),
            (
                _conv("Conv2d_0a_1x1", 1, 1, 64),
                _conv("Conv2d_0b_3x3", 3, 3, 96),
                _conv("Conv2d_0c_3x3", 3, 3, 96),
            ),
            (_AVERAGE_POOLING, _conv("Conv2d_0b_1x1", 1, 1, pooled)),
        ),
    )


def _mixed_6a() -> Block:
    return Block(
        "Mixed_6a",
        (
            (_conv("Conv2d_1a_1x1", 3, 3, 384, stride=2, padding="VALID"),),
            (
                _conv("Conv2d_0a_1x1", 1, 1, 64),
                _conv("Conv2d_0b_3x3", 3, 3, 96),
                _conv("Conv2d_1a_1x1", 3, 3, 96, stride=2, padding="VALID"),
            ),
            (_MAX_POOLING,),
        ),
    )


def _mixed_6(name: str, inner: int) -> Block:
    return Block(
        name,
        (
            (_conv("Conv2d_0a_1x1", 1, 1, 192),),
            (
                _conv("Conv2d_0a_1x1", 1, 1, inner),
                _conv("Conv2d_0b_1x7", 1, 7, inner),
                _conv("Conv2d_0c_7x1", 7, 1, 192),
            ),
            (
                _conv("Conv2d_0a_1x1", 1, 1, inner),
                _conv("Conv2d_0b_7x1", 7, 1, inner),
                _conv("Conv2d_0c_1x7", 1, 7, inner),
                _conv("Conv2d_0d_7x1", 7, 1, inner),
                _conv("Conv2d_0e_1x7", 1, 7, 192),
            ),
            (_AVERAGE_POOLING, _conv("Conv2d_0b_1x1", 1, 1, 192)),
        ),
    )


def _mixed_7a() -> Block:
    return Block(
        "Mixed_7a",
        (
            (
                _conv("Conv2d_0a_1x1", 1, 1, 192),
                _conv("Conv2d_1a_3x3", 3, 3, 320, stride=2, padding="VALID"),
            ),
            (
                _conv("Conv2d_0a_1x1", 1, 1, 192),
                _conv("Conv2d_0b_1x7", 1, 7, 192),
                _conv("Conv2d_0c_7x1", 7, 1, 192),
                _conv("Conv2d_1a_3x3", 3, 3, 192, stride=2, padding="VALID"),
            ),
            (_MAX_POOLING,),
        ),
    )


def _mixed_7(name: str, name_3x1: str) -> Block:
    return Block(
        name,
        (
            (_conv("Conv2d_0a_1x1", 1, 1, 320),),
            (
                _conv("Conv2d_0a_1x1", 1, 1, 384),
                Fork((_conv("Conv2d_0b_1x3", 1, 3, 384), _conv(name_3x1, 3, 1, 384))),
            ),
            (
                _conv("Conv2d_0a_1x1", 1, 1, 448),
                _conv("Conv2d_0b_3x3", 3, 3, 384),
                Fork((_conv("Conv2d_0c_1x3", 1, 3, 384), _conv("Conv2d_0d_3x1", 3, 1, 384))),
            ),
            (_AVERAGE_POOLING, _conv("Conv2d_0b_1x1", 1, 1, 192)),
        ),
    )


# The irregular names (Mixed_5c, Mixed_7b) are slips in TF-Slim that its checkpoints carry.
NETWORK: Final = (
    _stem(),
    _mixed_5("Mixed_5b", pooled=32, names_5x5=("Conv2d_0a_1x1", "Conv2d_0b_5x5")),
    _mixed_5("Mixed_5c", pooled=64, names_5x5=("Conv2d_0b_1x1", "Conv_1_0c_5x5")),
    _mixed_5("Mixed_5d", pooled=64, names_5x5=("Conv2d_0a_1x1", "Conv2d_0b_5x5")),
    _mixed_6a(),
    _mixed_6("Mixed_6b", inner=128),
    _mixed_6("Mixed_6c", inner=160),
    _mixed_6("Mixed_6d", inner=160),
    _mixed_6("Mixed_6e", inner=192),
    _mixed_7a(),
    _mixed_7("Mixed_7b", name_3x1="Conv2d_0b_3x1"),
    _mixed_7("Mixed_7c", name_3x1="Conv2d_0c_3x1"),
)


def walk_block(
    block: Block,
    value: Array,
    *,
    convolve: Callable[[str, Convolution, Array], Array],
    pool: Callable[[Pooling, Array], Array],
    concatenate: Callable[[list[Array]], Array],
) -> Array:
    """Applies a block to a value; the three operations say what a value is.

    `convolve` receives the TF-Slim scope of the convolution, such as
    `InceptionV3/Mixed_5b/Branch_0/Conv2d_0a_1x1`, and is called in creation order.
    """

    def step(scope: str, current: Step, value: Array) -> Array:
        if isinstance(current, Pooling):
            return pool(current, value)
        if isinstance(current, Fork):
            return concatenate(
                [convolve(scope + part.name, part, value) for part in current.convolutions]
            )
        return convolve(scope + current.name, current, value)

    outputs = []
    for index, branch in enumerate(block.branches):
        scope = PREFIX if block.name == STEM else f"{PREFIX}{block.name}/Branch_{index}/"
        output = value
        for current in branch:
            output = step(scope, current, output)
        outputs.append(output)
    return outputs[0] if len(outputs) == 1 else concatenate(outputs)


def convolutions() -> dict[str, tuple[int, int, int, int]]:
    """Kernel shape (height, width, inputs, filters) of the 94 scopes, in creation order."""
    kernels: dict[str, tuple[int, int, int, int]] = {}

    def convolve(scope: str, convolution: Convolution, channels: int) -> int:
        kernels[scope] = (*convolution.kernel, channels, convolution.filters)
        return convolution.filters

    channels = 3
    for block in NETWORK:
        channels = walk_block(
            block,
            channels,
            convolve=convolve,
            pool=lambda pooling, channels: channels,
            concatenate=sum,
        )
    return kernels


def variables_of(scope: str, kernel: tuple[int, int, int, int]) -> Iterator[Variable]:
    """The kernel and the three batch normalisation variables of one convolution."""
    yield Variable(f"{scope}/weights", kernel)
    for name in ("beta", "moving_mean", "moving_variance"):
        yield Variable(f"{scope}/BatchNorm/{name}", kernel[-1:])


def variables() -> list[Variable]:
    """The 376 variables of a feature-vector module, in creation order."""
    return [
        variable
        for scope, kernel in convolutions().items()
        for variable in variables_of(scope, kernel)
    ]


def keras_number(name: str) -> int:
    """Creation number at the end of a Keras layer's name; the first one carries none."""
    _, _, number = name.rpartition("_")
    return int(number) if number.isdigit() else 0


def mismatch(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], shown: int = 3
) -> str:
    """Missing, surplus and misshapen variables in one line, the first few of each by name.

    Returns:
        An empty string if names and shapes agree.
    """
    kinds = {
        "missing": [f"{name} {list(expected[name])}" for name in expected if name not in found],
        "surplus": [f"{name} {list(found[name])}" for name in found if name not in expected],
        "misshapen": [
            f"{name} {list(found[name])} instead of {list(expected[name])}"
            for name in expected
            if name in found and tuple(found[name]) != tuple(expected[name])
        ],
    }
    return "; ".join(
        f"{len(names)} {kind}: {', '.join(names[:shown])}{', …' if len(names) > shown else ''}"
        for kind, names in kinds.items()
        if names
    )
