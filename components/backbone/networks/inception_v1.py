"""Inception V1, GoogLeNet with batch normalisation; names and shapes are TF-Slim's."""

from typing import Final

from inception_finetune.components.backbone.blocks import Block, Branch, Convolution, Pooling
from inception_finetune.components.backbone.network import Backbone


def _mixed(
    name: str,
    single: int,
    double: tuple[int, int],
    second: tuple[int, int],
    pooled: int,
    *,
    second_name: str = "Conv2d_0b_3x3",
    then: Branch = (),
) -> Block:
    """Filters of the four branches: 1x1; 1x1 and 3x3, twice; pooling and 1x1."""
    return Block(
        name,
        (
            (Convolution("Conv2d_0a_1x1", (1, 1), single),),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), double[0]),
                Convolution("Conv2d_0b_3x3", (3, 3), double[1]),
            ),
            (
                Convolution("Conv2d_0a_1x1", (1, 1), second[0]),
                Convolution(second_name, (3, 3), second[1]),
            ),
            (Pooling("MAX"), Convolution("Conv2d_0b_1x1", (1, 1), pooled)),
        ),
        scope=f"{name}/",
        then=then,
    )


INCEPTION_V1: Final = Backbone(
    name="inception_v1",
    title="InceptionV1",
    scope="InceptionV1/",
    blocks=(
        Block(
            "stem",
            (
                (
                    Convolution("Conv2d_1a_7x7", (7, 7), 64, stride=2),
                    Pooling("MAX", stride=2),
                    Convolution("Conv2d_2b_1x1", (1, 1), 64),
                    Convolution("Conv2d_2c_3x3", (3, 3), 192),
                    Pooling("MAX", stride=2),
                ),
            ),
            scope="",
        ),
        _mixed("Mixed_3b", 64, (96, 128), (16, 32), 32),
        _mixed("Mixed_3c", 128, (128, 192), (32, 96), 64, then=(Pooling("MAX", stride=2),)),
        _mixed("Mixed_4b", 192, (96, 208), (16, 48), 64),
        _mixed("Mixed_4c", 160, (112, 224), (24, 64), 64),
        _mixed("Mixed_4d", 128, (128, 256), (24, 64), 64),
        _mixed("Mixed_4e", 112, (144, 288), (32, 64), 64),
        _mixed("Mixed_4f", 256, (160, 320), (32, 128), 128, then=(Pooling("MAX", 2, stride=2),)),
        # The irregular name is a slip in TF-Slim that its checkpoints carry.
        _mixed("Mixed_5b", 256, (160, 320), (32, 128), 128, second_name="Conv2d_0a_3x3"),
        _mixed("Mixed_5c", 384, (192, 384), (48, 128), 128),
    ),
    native_size=224,
    smallest_size=32,
    reference="Szegedy et al., Going Deeper with Convolutions, 2014",
    address="https://arxiv.org/abs/1409.4842",
    module="https://tfhub.dev/google/imagenet/inception_v1/feature_vector/5",
)
