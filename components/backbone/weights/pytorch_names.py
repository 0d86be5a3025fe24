"""The modules of timm's networks by TF-Slim's scopes; torchvision names InceptionV3 alike."""

from collections.abc import Callable, Iterator
from typing import Final

from inception_finetune.components.backbone.blocks import Block, Convolution
from inception_finetune.components.backbone.network import Backbone

# A branch of timm's InceptionV3 has its own name, its convolutions numbers.
_A: Final = (
    "branch1x1",
    *("branch5x5_1", "branch5x5_2"),
    *("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
    "branch_pool",
)
_B: Final = ("branch3x3", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
_C: Final = (
    "branch1x1",
    *("branch7x7_1", "branch7x7_2", "branch7x7_3"),
    *(f"branch7x7dbl_{number}" for number in range(1, 6)),
    "branch_pool",
)
_D: Final = (
    *("branch3x3_1", "branch3x3_2"),
    *(f"branch7x7x3_{number}" for number in range(1, 5)),
)
_E: Final = (
    "branch1x1",
    *("branch3x3_1", "branch3x3_2a", "branch3x3_2b"),
    *("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3a", "branch3x3dbl_3b"),
    "branch_pool",
)
_INCEPTION_V3: Final = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), _A),
    "Mixed_6a": _B,
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), _C),
    "Mixed_7a": _D,
    **dict.fromkeys(("Mixed_7b", "Mixed_7c"), _E),
}
# The blocks of InceptionV4 that are no plain sequences.
_INCEPTION_V4: Final = {
    **dict.fromkeys(("Mixed_3a", "Mixed_5a"), ("conv",)),
    **dict.fromkeys(
        ("Mixed_7b", "Mixed_7c", "Mixed_7d"),
        (
            "branch0",
            *("branch1_0", "branch1_1a", "branch1_1b"),
            *("branch2_0", "branch2_1", "branch2_2", "branch2_3a", "branch2_3b"),
            "branch3.1",
        ),
    ),
}
_REPEATS: Final = {"Block35": "repeat", "Block17": "repeat_1", "Block8": "repeat_2"}


def _of_inception_v3(block: Block) -> Iterator[str]:
    if block.name == "stem":
        yield from (step.name for step in block.branches[0] if isinstance(step, Convolution))
    else:
        yield from (f"{block.name}.{name}" for name in _INCEPTION_V3[block.name])


def _of_inception_v4(block: Block, number: int) -> Iterator[str]:
    """Names a block's modules.

    Args:
        block: of InceptionV4.
        number: of the block, from 0; the stem, block 0, is three modules.
    """
    if block.name == "stem":
        yield from (f"features.{index}" for index in range(3))
    elif block.name in _INCEPTION_V4:
        yield from (f"features.{number + 2}.{name}" for name in _INCEPTION_V4[block.name])
    else:
        yield from _sequences(f"features.{number + 2}", block)


def _of_inception_resnet_v2(block: Block) -> Iterator[str]:
    repeat, _, number = block.name.partition("_")
    if block.name == "stem":
        yield from ("conv2d_1a", "conv2d_2a", "conv2d_2b", "conv2d_3b", "conv2d_4a")
    elif block.name == "Conv2d_7b_1x1":
        yield "conv2d_7b"
    elif repeat in _REPEATS and number:
        yield from _sequences(f"{_REPEATS[repeat]}.{int(number) - 1}", block)
    else:
        yield from _sequences(block.name.lower(), block)


def _sequences(prefix: str, block: Block) -> Iterator[str]:
    """A branch of one step is that module; of several, pooling included, a numbered sequence."""
    for number, branch in enumerate(block.branches):
        for position, step in enumerate(branch):
            if isinstance(step, Convolution):
                yield f"{prefix}.branch{number}" + (f".{position}" if len(branch) > 1 else "")
    if block.residual is not None:
        yield f"{prefix}.conv2d"


_NAMES: Final[dict[str, Callable[[Block, int], Iterator[str]]]] = {
    "inception_v3": lambda block, number: _of_inception_v3(block),
    "inception_v4": _of_inception_v4,
    "inception_resnet_v2": lambda block, number: _of_inception_resnet_v2(block),
}
WITH_NAMES: Final = tuple(_NAMES)  # the networks that timm has


def modules(backbone: Backbone) -> dict[str, str]:
    """Returns PyTorch's module for each convolution of one of `WITH_NAMES`, by TF-Slim's scope."""
    names = [
        name
        for number, block in enumerate(backbone.blocks)
        for name in _NAMES[backbone.name](block, number)
    ]
    return dict(zip(backbone.convolutions, names, strict=True))
