"""Inception V3; names and shapes are TF-Slim's (`inception_v3_base`)."""

from typing import Final

from inception_finetune.components.backbone.blocks import Block, Convolution, Fork, Pooling
from inception_finetune.components.backbone.network import Backbone

_MAX_POOLING: Final = Pooling("MAX", stride=2, padding="VALID")
_AVERAGE_POOLING: Final = Pooling("AVG")


def _mixed_5(name: str, pooled: int, names_5x5: tuple[str, str]) -> Block:
    return Block(
        name,
        (
            (Convolution("Conv2d_0a_1x1", (1, 1), 64),),
            (
                Convolution(names_5x5[0], (1, 1), 48),
                Convolution(names_5x5[1], (5, 5), 64),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 64),
                Convolution("Conv2d_0b_3x3", (3, 3), 96),
                Convolution("Conv2d_0c_3x3", (3, 3), 96),
            ),
            (_AVERAGE_POOLING, Convolution("Conv2d_0b_1x1", (1, 1), pooled)),
        ),
        scope=f"{name}/",
    )


def _mixed_6a() -> Block:
    return Block(
        "Mixed_6a",
        (
            # The names do not tell: both Conv2d_1a_1x1 are 3x3.
            (Convolution("Conv2d_1a_1x1", (3, 3), 384, stride=2, padding="VALID"),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 64),
                Convolution("Conv2d_0b_3x3", (3, 3), 96),
                Convolution("Conv2d_1a_1x1", (3, 3), 96, stride=2, padding="VALID"),
            ),
            (_MAX_POOLING,),
        ),
        scope="Mixed_6a/",
    )


def _mixed_6(name: str, inner: int) -> Block:
    return Block(
        name,
        (
            (Convolution("Conv2d_0a_1x1", (1, 1), 192),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), inner),
                Convolution("Conv2d_0b_1x7", (1, 7), inner),
                Convolution("Conv2d_0c_7x1", (7, 1), 192),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), inner),
                Convolution("Conv2d_0b_7x1", (7, 1), inner),
                Convolution("Conv2d_0c_1x7", (1, 7), inner),
                Convolution("Conv2d_0d_7x1", (7, 1), inner),
                Convolution("Conv2d_0e_1x7", (1, 7), 192),
            ),
            (_AVERAGE_POOLING, Convolution("Conv2d_0b_1x1", (1, 1), 192)),
        ),
        scope=f"{name}/",
    )


def _mixed_7a() -> Block:
    return Block(
        "Mixed_7a",
        (
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 192),
                Convolution("Conv2d_1a_3x3", (3, 3), 320, stride=2, padding="VALID"),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 192),
                Convolution("Conv2d_0b_1x7", (1, 7), 192),
                Convolution("Conv2d_0c_7x1", (7, 1), 192),
                Convolution("Conv2d_1a_3x3", (3, 3), 192, stride=2, padding="VALID"),
            ),
            (_MAX_POOLING,),
        ),
        scope="Mixed_7a/",
    )


def _mixed_7(name: str, name_3x1: str) -> Block:
    return Block(
        name,
        (
            (Convolution("Conv2d_0a_1x1", (1, 1), 320),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 384),
                Fork(
                    (
                        Convolution("Conv2d_0b_1x3", (1, 3), 384),
                        Convolution(name_3x1, (3, 1), 384),
                    )
                ),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), 448),
                Convolution("Conv2d_0b_3x3", (3, 3), 384),
                Fork(
                    (
                        Convolution("Conv2d_0c_1x3", (1, 3), 384),
                        Convolution("Conv2d_0d_3x1", (3, 1), 384),
                    )
                ),
            ),
            (_AVERAGE_POOLING, Convolution("Conv2d_0b_1x1", (1, 1), 192)),
        ),
        scope=f"{name}/",
    )


INCEPTION_V3: Final = Backbone(
    name="inception_v3",
    title="InceptionV3",
    scope="InceptionV3/",
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
        # The irregular names (Mixed_5c, Mixed_7b) are slips in TF-Slim that its checkpoints carry.
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
    ),
    native_size=299,
    smallest_size=75,
    reference="Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2015",
    address="https://arxiv.org/abs/1512.00567",
    module="https://tfhub.dev/google/imagenet/inception_v3/feature_vector/5",
)
