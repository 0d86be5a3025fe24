"""Inception-ResNet-v2; names and shapes are TF-Slim's."""

from typing import Final

from inception_finetune.components.backbone.blocks import (
    Block,
    Branch,
    Convolution,
    Pooling,
    Residual,
)
from inception_finetune.components.backbone.network import Backbone

_MAX_POOLING: Final = Pooling("MAX", stride=2, padding="VALID")


def _mixed_5b() -> Block:
    return Block(
        "Mixed_5b",
        (
            (Convolution("Conv2d_1x1", (1, 1), 96),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 48),
                Convolution("Conv2d_0b_5x5", (5, 5), 64),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 64),
                Convolution("Conv2d_0b_3x3", (3, 3), 96),
                Convolution("Conv2d_0c_3x3", (3, 3), 96),
            ),
            (Pooling("AVG"), Convolution("Conv2d_0b_1x1", (1, 1), 64)),
        ),
        scope="Mixed_5b/",
    )


def _mixed_6a() -> Block:
    return Block(
        "Mixed_6a",
        (
            (Convolution("Conv2d_1a_3x3", (3, 3), 384, stride=2, padding="VALID"),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 256),
                Convolution("Conv2d_0b_3x3", (3, 3), 256),
                Convolution("Conv2d_1a_3x3", (3, 3), 384, stride=2, padding="VALID"),
            ),
            (_MAX_POOLING,),
        ),
        scope="Mixed_6a/",
    )


def _mixed_7a() -> Block:
    return Block(
        "Mixed_7a",
        (
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 256),
                Convolution("Conv2d_1a_3x3", (3, 3), 384, stride=2, padding="VALID"),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 256),
                Convolution("Conv2d_1a_3x3", (3, 3), 288, stride=2, padding="VALID"),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 256),
                Convolution("Conv2d_0b_3x3", (3, 3), 288),
                Convolution("Conv2d_1a_3x3", (3, 3), 320, stride=2, padding="VALID"),
            ),
            (_MAX_POOLING,),
        ),
        scope="Mixed_7a/",
    )


def _residual(
    name: str,
    scope: str,
    branches: tuple[Branch, ...],
    channels: int,
    scale: float,
    *,
    relu: bool = True,
) -> Block:
    projection = Convolution("Conv2d_1x1", (1, 1), channels, has_bias=True, relu=False)
    return Block(name, branches, scope=scope, residual=Residual(projection, scale, relu))


def _block35(number: int) -> Block:
    return _residual(
        f"Block35_{number}",
        f"Repeat/block35_{number}/",
        (
            (Convolution("Conv2d_1x1", (1, 1), 32),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 32),
                Convolution("Conv2d_0b_3x3", (3, 3), 32),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 32),
                Convolution("Conv2d_0b_3x3", (3, 3), 48),
                Convolution("Conv2d_0c_3x3", (3, 3), 64),
            ),
        ),
        channels=320,
        scale=0.17,
    )


def _block17(number: int) -> Block:
    return _residual(
        f"Block17_{number}",
        f"Repeat_1/block17_{number}/",
        (
            (Convolution("Conv2d_1x1", (1, 1), 192),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 128),
                Convolution("Conv2d_0b_1x7", (1, 7), 160),
                Convolution("Conv2d_0c_7x1", (7, 1), 192),
            ),
        ),
        channels=1088,
        scale=0.1,
    )


def _block8(name: str, scope: str, scale: float, *, relu: bool = True) -> Block:
    return _residual(
        name,
        scope,
        (
            (Convolution("Conv2d_1x1", (1, 1), 192),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 192),
                Convolution("Conv2d_0b_1x3", (1, 3), 224),
                Convolution("Conv2d_0c_3x1", (3, 1), 256),
            ),
        ),
        channels=2080,
        scale=scale,
        relu=relu,
    )


INCEPTION_RESNET_V2: Final = Backbone(
    name="inception_resnet_v2",
    title="Inception-ResNet-v2",
    scope="InceptionResnetV2/",
    blocks=(
        Block(
            "stem",
            (
                (
                    Convolution("Conv2d_1a_3x3", (3, 3), 32, stride=2, padding="VALID"),
                    Convolution("Conv2d_2a_3x3", (3, 3), 32, padding="VALID"),
                    Convolution("Conv2d_2b_3x3", (3, 3), 64),
                    _MAX_POOLING,
                    Convolution("Conv2d_3b_1x1", (1, 1), 80, padding="VALID"),
                    Convolution("Conv2d_4a_3x3", (3, 3), 192, padding="VALID"),
                    _MAX_POOLING,
                ),
            ),
            scope="",
        ),
        _mixed_5b(),
        *(_block35(number) for number in range(1, 11)),
        _mixed_6a(),
        *(_block17(number) for number in range(1, 21)),
        _mixed_7a(),
        *(
            _block8(f"Block8_{number}", f"Repeat_2/block8_{number}/", 0.2)
            for number in range(1, 10)
        ),
        _block8("Block8", "Block8/", 1.0, relu=False),
        Block("Conv2d_7b_1x1", ((Convolution("Conv2d_7b_1x1", (1, 1), 1536),),), scope=""),
    ),
    native_size=299,
    smallest_size=75,
    reference="Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual "
    "Connections on Learning, 2016",
    address="https://arxiv.org/abs/1602.07261",
    module="https://tfhub.dev/google/imagenet/inception_resnet_v2/feature_vector/5",
)
