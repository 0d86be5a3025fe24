"""A small network without pretraining, as a baseline for fine-tuning."""

from typing import Final

from inception_finetune.components.backbone.blocks import Block, Convolution, Pooling
from inception_finetune.components.backbone.network import Backbone

_HALVING: Final = Pooling("MAX", stride=2)

# Two convolutions and a dense layer over all positions, of the kind that tutorials on CIFAR-10
# begin with and that reaches about 67 % there; see the 2017 article in its reference.
SCRATCH_CNN: Final = Backbone(
    name="scratch_cnn",
    title="A small convolutional network",
    scope="ScratchCNN/",
    blocks=(
        Block(
            "stem",
            ((Convolution("Conv2d_1", (5, 5), 64, has_bias=True), _HALVING),),
            scope="",
        ),
        Block(
            "Conv2d_2",
            ((Convolution("Conv2d_2", (5, 5), 64, has_bias=True), _HALVING),),
            scope="",
        ),
        Block(
            "Dense_3",
            ((Convolution("Dense_3", None, 256, padding="VALID", has_bias=True),),),
            scope="",
        ),
    ),
    native_size=32,
    smallest_size=8,
    reference="",
    address="",
)
