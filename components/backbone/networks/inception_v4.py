"""Inception V4; names and shapes are TF-Slim's."""

from typing import Final

from inception_finetune.components.backbone.blocks import Block, Convolution, Fork, Pooling
from inception_finetune.components.backbone.network import Backbone

_MAX_POOLING: Final = Pooling("MAX", stride=2, padding="VALID")
_AVERAGE_POOLING: Final = Pooling("AVG")


def _stem() -> tuple[Block, ...]:
    """Its blocks are end points of their own in TF-Slim, and can be cut between."""
    return (
        Block(
            "stem",
            (
                (
                    Convolution("Conv2d_1a_3x3", (3, 3), 32, stride=2, padding="VALID"),
                    Convolution("Conv2d_2a_3x3", (3, 3), 32, padding="VALID"),
                    Convolution("Conv2d_2b_3x3", (3, 3), 64),
                ),
            ),
            scope="",
        ),
        Block(
            "Mixed_3a",
            (
                (_MAX_POOLING,),
                (Convolution("Conv2d_0a_3x3", (3, 3), 96, stride=2, padding="VALID"),),
            ),
            scope="Mixed_3a/",
        ),
        Block(
            "Mixed_4a",
            (
                (
                    Convolution("Conv2d_0a_1x1", (1, 1), 64),
                    Convolution("Conv2d_1a_3x3", (3, 3), 96, padding="VALID"),
                ),
                (
                    Convolution("Conv2d_0a_1x1", (1, 1), 64),
                    Convolution("Conv2d_0b_1x7", (1, 7), 64),
                    Convolution("Conv2d_0c_7x1", (7, 1), 64),
                    Convolution("Conv2d_1a_3x3", (3, 3), 96, padding="VALID"),
                ),
            ),
            scope="Mixed_4a/",
        ),
        Block(
            "Mixed_5a",
            (
                (Convolution("Conv2d_1a_3x3", (3, 3), 192, stride=2, padding="VALID"),),
                (_MAX_POOLING,),
            ),
            scope="Mixed_5a/",
        ),
    )


def _inception_a(name: str) -> Block:
    return Block(
        name,
        (
            (Convolution("Conv2d_0a_1x1", (1, 1), 96),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 64),
                Convolution("Conv2d_0b_3x3", (3, 3), 96),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 64),
                Convolution("Conv2d_0b_3x3", (3, 3), 96),
                Convolution("Conv2d_0c_3x3", (3, 3), 96),
            ),
            (_AVERAGE_POOLING, Convolution("Conv2d_0b_1x1", (1, 1), 96)),
        ),
        scope=f"{name}/",
    )


def _reduction_a(name: str) -> Block:
    return Block(
        name,
        (
            (Convolution("Conv2d_1a_3x3", (3, 3), 384, stride=2, padding="VALID"),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 192),
                Convolution("Conv2d_0b_3x3", (3, 3), 224),
                Convolution("Conv2d_1a_3x3", (3, 3), 256, stride=2, padding="VALID"),
            ),
            (_MAX_POOLING,),
        ),
        scope=f"{name}/",
    )


def _inception_b(name: str) -> Block:
    return Block(
        name,
        (
            (Convolution("Conv2d_0a_1x1", (1, 1), 384),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 192),
                Convolution("Conv2d_0b_1x7", (1, 7), 224),
                Convolution("Conv2d_0c_7x1", (7, 1), 256),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 192),
                Convolution("Conv2d_0b_7x1", (7, 1), 192),
                Convolution("Conv2d_0c_1x7", (1, 7), 224),
                Convolution("Conv2d_0d_7x1", (7, 1), 224),
                Convolution("Conv2d_0e_1x7", (1, 7), 256),
            ),
            (_AVERAGE_POOLING, Convolution("Conv2d_0b_1x1", (1, 1), 128)),
        ),
        scope=f"{name}/",
    )


def _reduction_b(name: str) -> Block:
    return Block(
        name,
        (
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 192),
                Convolution("Conv2d_1a_3x3", (3, 3), 192, stride=2, padding="VALID"),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 256),
                Convolution("Conv2d_0b_1x7", (1, 7), 256),
                Convolution("Conv2d_0c_7x1", (7, 1), 320),
                Convolution("Conv2d_1a_3x3", (3, 3), 320, stride=2, padding="VALID"),
            ),
            (_MAX_POOLING,),
        ),
        scope=f"{name}/",
    )


def _inception_c(name: str) -> Block:
    return Block(
        name,
        (
            (Convolution("Conv2d_0a_1x1", (1, 1), 256),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 384),
                Fork(
                    (
                        Convolution("Conv2d_0b_1x3", (1, 3), 256),
                        Convolution("Conv2d_0c_3x1", (3, 1), 256),
                    )
                ),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 384),
                Convolution("Conv2d_0b_3x1", (3, 1), 448),
                Convolution("Conv2d_0c_1x3", (1, 3), 512),
                Fork(
                    (
                        Convolution("Conv2d_0d_1x3", (1, 3), 256),
                        Convolution("Conv2d_0e_3x1", (3, 1), 256),
                    )
                ),
            ),
            (_AVERAGE_POOLING, Convolution("Conv2d_0b_1x1", (1, 1), 256)),
        ),
        scope=f"{name}/",
    )


INCEPTION_V4: Final = Backbone(
    name="inception_v4",
    title="InceptionV4",
    scope="InceptionV4/",
    blocks=(
        *_stem(),
        *(_inception_a(f"Mixed_5{letter}") for letter in "bcde"),
        _reduction_a("Mixed_6a"),
        *(_inception_b(f"Mixed_6{letter}") for letter in "bcdefgh"),
        _reduction_b("Mixed_7a"),
        *(_inception_c(f"Mixed_7{letter}") for letter in "bcd"),
    ),
    native_size=299,
    smallest_size=75,
    reference="Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual "
    "Connections on Learning, 2016",
    address="https://arxiv.org/abs/1602.07261",
)
