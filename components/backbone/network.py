"""A backbone as a table of blocks of convolutions, from which everything else is derived.

Variable names, shapes, the Keras network, the module in TF-Hub's format, the folded trunk and the
cut are all made by walking over such a table. Does not need TensorFlow.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Protocol, TypeVar

from inception_finetune.components.backbone.blocks import (
    BATCH_NORM,
    BIAS,
    Block,
    Branch,
    Convolution,
    Fork,
    Padding,
    Pooling,
    Residual,
    Step,
)

Array = TypeVar("Array")

HEAD: Final = "head"
ALL: Final = "all"
AUTO_BLOCK: Final = "auto"  # a choice of the block that is explained
_FINE_MAP: Final = 7  # positions a side from which on a map shows more than the middle and corners
BATCH_NORM_EPSILON: Final = 1e-3
CHANNELS: Final = 3  # of an image


class Variable(NamedTuple):
    """A variable of the network, with TF-Slim's name."""

    name: str
    shape: tuple[int, ...]


class Operations(Protocol[Array]):
    """What a walk over blocks does to a value, and thereby what a value is."""

    def convolve(self, scope: str, convolution: Convolution, value: Array) -> Array:
        """Applies a convolution.

        Args:
            scope: TF-Slim's, such as ``InceptionV3/Mixed_5b/Branch_0/Conv2d_0a_1x1``.
            convolution: its row of the table.
            value: the input.
        """

    def pool(self, pooling: Pooling, value: Array) -> Array:
        """Applies a pooling."""

    def concatenate(self, values: list[Array]) -> Array:
        """Concatenates along the channels."""

    def add(self, value: Array, update: Array, residual: Residual) -> Array:
        """Returns ``value + residual.scale * update``, then ReLU if the residual has one."""

    def end_block(self, block: Block, value: Array) -> Array:
        """Returns the value as it enters the next block."""


@dataclass(frozen=True)
class Backbone:
    """A network that maps images to feature vectors, without weights.

    It takes ``[B, S, S, 3]`` float32 in [-1, 1] and gives the mean of its last block's output
    over all positions, ``[B, features]`` float32. Its module in TF-Hub's format takes [0, 1].
    """

    name: str  # in the configuration
    title: str  # to people
    scope: str  # before the names of all variables, such as "InceptionV3/"
    blocks: tuple[Block, ...]  # the first one, the stem, is trained with all others or not at all
    native_size: int  # pixels a side of the images that it was designed for
    smallest_size: int  # pixels; below, its last kernels no longer fit
    reference: str  # of the model card: authors, title, year
    address: str  # of that paper
    module: str = ""  # a handle of a pretrained one

    @cached_property
    def convolutions(self) -> "dict[str, Convolution]":
        """Each convolution by its scope, in TF-Slim's order of creation."""
        by_scope: dict[str, Convolution] = {}
        for scope, convolution, _ in _convolutions(self, self.native_size):
            by_scope[scope] = convolution
        return by_scope

    @cached_property
    def is_sized(self) -> bool:
        """Whether a kernel's shape depends on the image size."""
        return any(convolution.kernel is None for convolution in self.convolutions.values())

    @cached_property
    def features(self) -> int:
        """Width of the feature vector."""
        return _output(self, self.native_size).channels

    @cached_property
    def trainable_from(self) -> tuple[str, ...]:
        """Choices of what is trained first: a block after the stem, the head, or all."""
        return (*(block.name for block in self.blocks[1:]), HEAD, ALL)

    def trainable_after(self, first: str) -> tuple[str, ...]:
        """Returns the choices of what is trained first if features are stored before `first`."""
        if first == ALL:
            return (ALL,)
        choices = self.trainable_from
        return choices[choices.index(first) : choices.index(HEAD) + 1]

    def blocks_before(self, first: str) -> tuple[Block, ...]:
        """Returns the blocks of a trunk that ends before `first`.

        Args:
            first: a block; ``head`` for all blocks, ``all`` for none.
        """
        if first == ALL:
            return ()
        count = len(self.blocks) if first == HEAD else 1 + self.trainable_from.index(first)
        return self.blocks[:count]

    def variables(self, image_size: int) -> list[Variable]:
        """Lists all variables in TF-Slim's order of creation.

        Args:
            image_size: side of the images in pixels.
        """
        return [
            Variable(f"{scope}/{suffix}", shape)
            for scope, convolution, shapes in _convolutions(self, image_size)
            for suffix, shape in zip(convolution.suffixes, shapes, strict=True)
        ]


def walk_block(
    backbone: Backbone, block: Block, value: Array, operations: Operations[Array]
) -> Array:
    """Applies a block to a value; convolutions come in TF-Slim's order of creation.

    Args:
        backbone: the network's table.
        block: one of its blocks.
        value: the block's input.
        operations: what is done to values.

    Returns:
        The block's output.
    """

    def step(scope: str, current: Step, value: Array) -> Array:
        if isinstance(current, Pooling):
            return operations.pool(current, value)
        if isinstance(current, Fork):
            return operations.concatenate(
                [
                    operations.convolve(scope + part.name, part, value)
                    for part in current.convolutions
                ]
            )
        return operations.convolve(scope + current.name, current, value)

    def steps(scope: str, branch: Branch, value: Array) -> Array:
        for current in branch:
            value = step(scope, current, value)
        return value

    scope = backbone.scope + block.scope
    scopes = [f"{scope}Branch_{index}/" for index in range(len(block.branches))]
    if len(scopes) == 1:
        scopes = [scope]
    outputs = [
        steps(inner, branch, value) for inner, branch in zip(scopes, block.branches, strict=True)
    ]
    output = outputs[0] if len(outputs) == 1 else operations.concatenate(outputs)
    if block.residual is not None:
        projection = block.residual.projection
        update = operations.convolve(scope + projection.name, projection, output)
        output = operations.add(value, update, block.residual)
    return operations.end_block(block, steps(scope, block.then, output))


def walk(
    backbone: Backbone, blocks: tuple[Block, ...], value: Array, operations: Operations[Array]
) -> Array:
    """Applies blocks to a value, one after the other.

    Args:
        backbone: the network's table.
        blocks: the first blocks of it, in their order.
        value: images, or what stands for them in `operations`.
        operations: what is done to values.

    Returns:
        The last block's output.
    """
    for block in blocks:
        value = walk_block(backbone, block, value, operations)
    return value


class Size(NamedTuple):
    """Size of one image's activations."""

    height: int
    width: int
    channels: int


class _Sizes:
    """Operations on sizes, which record every convolution that they meet."""

    def __init__(self) -> None:
        self.convolutions: list[tuple[str, Convolution, tuple[tuple[int, ...], ...]]] = []
        self.multiplications = 0
        self.largest = 0  # of a convolution's output, in numbers

    def convolve(self, scope: str, convolution: Convolution, value: Size) -> Size:
        kernel = convolution.kernel or (value.height, value.width)
        filters, multiplier = convolution.filters, convolution.depth_multiplier
        kernels: tuple[tuple[int, ...], ...] = ((*kernel, value.channels, filters),)
        if multiplier:
            kernels = (
                (*kernel, value.channels, multiplier),
                (1, 1, value.channels * multiplier, filters),
            )
        statistics = BIAS if convolution.has_bias else BATCH_NORM
        self.convolutions.append(
            (scope, convolution, (*kernels, *((filters,) for _ in statistics)))
        )
        height, width = _positions(value, kernel, convolution.stride, convolution.padding)
        self.multiplications += height * width * sum(map(math.prod, kernels))
        self.largest = max(self.largest, height * width * filters)
        return Size(height, width, filters)

    def pool(self, pooling: Pooling, value: Size) -> Size:
        kernel = (pooling.size, pooling.size)
        return Size(*_positions(value, kernel, pooling.stride, pooling.padding), value.channels)

    def concatenate(self, values: list[Size]) -> Size:
        return values[0]._replace(channels=sum(value.channels for value in values))

    def add(self, value: Size, update: Size, residual: Residual) -> Size:
        return value

    def end_block(self, block: Block, value: Size) -> Size:
        return value


def _positions(
    value: Size, kernel: tuple[int, int], stride: int, padding: Padding
) -> tuple[int, int]:
    """Returns height and width of the output.

    https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
    """
    height, width = (
        -(-(length if padding == "SAME" else length - window + 1) // stride)
        for length, window in zip(value[:2], kernel, strict=True)
    )
    return height, width


def sizes(backbone: Backbone, image_size: int) -> dict[str, Size]:
    """Returns the size of each block's output.

    Args:
        backbone: the network's table.
        image_size: side of the images in pixels.
    """
    outputs: dict[str, Size] = {}
    value = Size(image_size, image_size, CHANNELS)
    operations = _Sizes()
    for block in backbone.blocks:
        value = outputs[block.name] = walk_block(backbone, block, value, operations)
    return outputs


def explained_block(backbone: Backbone, image_size: int, wanted: str) -> str:
    """Returns the block whose output is to show where the network looks.

    Args:
        backbone: the network's table.
        image_size: side of the images in pixels.
        wanted: a block; or "auto", the last one with 7 x 7 positions or more, or the last of all.

    Raises:
        ValueError: there is no such block.
    """
    outputs = sizes(backbone, image_size)
    if wanted == AUTO_BLOCK:
        fine = [name for name, size in outputs.items() if size.height >= _FINE_MAP]
        return (fine or list(outputs))[-1]
    if wanted not in outputs:
        raise ValueError(
            f"explain.block is {wanted}, which {backbone.name} does not have. Set it to "
            f"{AUTO_BLOCK}, null or one of {', '.join(outputs)}"
        )
    return wanted


def multiplications(backbone: Backbone, image_size: int) -> dict[str, int]:
    """Returns the multiplications in each block's convolutions, for one image.

    Args:
        backbone: the network's table.
        image_size: side of the images in pixels.
    """
    counts: dict[str, int] = {}
    value = Size(image_size, image_size, CHANNELS)
    for block in backbone.blocks:
        operations = _Sizes()
        value = walk_block(backbone, block, value, operations)
        counts[block.name] = operations.multiplications
    return counts


def largest_activation(backbone: Backbone, image_size: int) -> int:
    """Returns how many numbers the largest output of a convolution has, for one image.

    Args:
        backbone: the network's table.
        image_size: side of the images in pixels.
    """
    operations = _Sizes()
    walk(backbone, backbone.blocks, Size(image_size, image_size, CHANNELS), operations)
    return operations.largest


def _convolutions(
    backbone: Backbone, image_size: int
) -> Iterator[tuple[str, Convolution, tuple[tuple[int, ...], ...]]]:
    operations = _Sizes()
    walk(backbone, backbone.blocks, Size(image_size, image_size, CHANNELS), operations)
    yield from operations.convolutions


def _output(backbone: Backbone, image_size: int) -> Size:
    return sizes(backbone, image_size)[backbone.blocks[-1].name]


def mismatch(
    actual: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], shown: int = 3
) -> str:
    """Describes missing, surplus and misshapen variables in one line.

    Args:
        actual: shapes by name.
        expected: shapes by name.
        shown: how many of each kind are named.

    Returns:
        An empty string if names and shapes agree.
    """
    kinds = {
        "missing": [f"{name} {list(expected[name])}" for name in expected if name not in actual],
        "surplus": [f"{name} {list(actual[name])}" for name in actual if name not in expected],
        "misshapen": [
            f"{name} {list(actual[name])} instead of {list(expected[name])}"
            for name in expected
            if name in actual and tuple(actual[name]) != tuple(expected[name])
        ],
    }
    return "; ".join(
        f"{len(names)} {kind}: {', '.join(names[:shown])}{', …' if len(names) > shown else ''}"
        for kind, names in kinds.items()
        if names
    )
