"""Inception V2, of the paper on batch normalisation; names and shapes are TF-Slim's."""

from typing import Final

from inception_finetune.components.backbone.blocks import Block, Branch, Convolution, Pooling
from inception_finetune.components.backbone.network import Backbone

_AVERAGE: Final = Pooling("AVG")
_MAX: Final = Pooling("MAX")


def _double(inner: int, filters: int) -> Branch:
    return (
        Convolution("Conv2d_0a_1x1", (1, 1), inner),
        Convolution("Conv2d_0b_3x3", (3, 3), filters),
        Convolution("Conv2d_0c_3x3", (3, 3), filters),
    )


def _mixed(
    name: str,
    single: int,
    double: tuple[int, int],
    triple: tuple[int, int],
    pooled: int,
    pooling: Pooling = _AVERAGE,
) -> Block:
    """Filters of the branches: 1x1; 1x1 and 3x3; 1x1 and twice 3x3; pooling and 1x1."""
    return Block(
        name,
        (
            (Convolution("Conv2d_0a_1x1", (1, 1), single),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), double[0]),
                Convolution("Conv2d_0b_3x3", (3, 3), double[1]),
            ),
            _double(*triple),
            (pooling, Convolution("Conv2d_0b_1x1", (1, 1), pooled)),
        ),
        scope=f"{name}/",
    )


def _reduction(name: str, first: tuple[int, int], second: tuple[int, int]) -> Block:
    """Halves height and width."""
    return Block(
        name,
        (
            (
                Convolution("Conv2d_0a_1x1", (1, 1), first[0]),
                Convolution("Conv2d_1a_3x3", (3, 3), first[1], stride=2),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), second[0]),
                Convolution("Conv2d_0b_3x3", (3, 3), second[1]),
                Convolution("Conv2d_1a_3x3", (3, 3), second[1], stride=2),
            ),
            (Pooling("MAX", stride=2),),
        ),
        scope=f"{name}/",
    )


INCEPTION_V2: Final = Backbone(
    name="inception_v2",
    title="InceptionV2",
    scope="InceptionV2/",
    blocks=(
        Block(
            "stem",
            (
                (
                    # Alone in having a bias: TF-Slim's argument scope normalises `conv2d` only.
                    Convolution(
                        "Conv2d_1a_7x7", (7, 7), 64, stride=2, depth_multiplier=8, has_bias=True
                    ),
                    Pooling("MAX", stride=2),
                    Convolution("Conv2d_2b_1x1", (1, 1), 64),
                    Convolution("Conv2d_2c_3x3", (3, 3), 192),
                    Pooling("MAX", stride=2),
                ),
            ),
            scope="",
        ),
        _mixed("Mixed_3b", 64, (64, 64), (64, 96), 32),
        _mixed("Mixed_3c", 64, (64, 96), (64, 96), 64),
        _reduction("Mixed_4a", (128, 160), (64, 96)),
        _mixed("Mixed_4b", 224, (64, 96), (96, 128), 128),
        _mixed("Mixed_4c", 192, (96, 128), (96, 128), 128),
        _mixed("Mixed_4d", 160, (128, 160), (128, 160), 96),
        _mixed("Mixed_4e", 96, (128, 192), (160, 192), 96),
        _reduction("Mixed_5a", (128, 192), (192, 256)),
        _mixed("Mixed_5b", 352, (192, 320), (160, 224), 128),
        _mixed("Mixed_5c", 352, (192, 320), (192, 224), 128, _MAX),
    ),
    native_size=224,
    smallest_size=32,
    reference="Ioffe and Szegedy, Batch Normalization: Accelerating Deep Network Training by "
    "Reducing Internal Covariate Shift, 2015",
    address="https://arxiv.org/abs/1502.03167",
    module="https://tfhub.dev/google/imagenet/inception_v2/feature_vector/5",
)
