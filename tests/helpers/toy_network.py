"""A network of a few thousand weights, as a user would add one."""

from inception_finetune.components.backbone.blocks import Block, Convolution, Pooling, Residual
from inception_finetune.components.backbone.network import Backbone

_HALVED = Pooling("MAX", 2, stride=2)

TOY = Backbone(
    name="toy",
    title="ToyNet",
    scope="Toy/",
    blocks=(
        Block("stem", ((Convolution("Conv2d_1", (3, 3), 16), _HALVED),), scope=""),
        Block(
            "Mixed_2",
            (
                (Convolution("Conv2d_a", (1, 1), 16),),
                (Convolution("Conv2d_a", (1, 1), 8), Convolution("Conv2d_b", (3, 3), 16)),
            ),
            scope="Mixed_2/",
            then=(_HALVED,),
        ),
        Block(
            "Residual_3",
            ((Convolution("Conv2d_a", (3, 3), 24, depth_multiplier=2),),),
            scope="Residual_3/",
            residual=Residual(Convolution("Up", (1, 1), 32, has_bias=True, relu=False), 0.5),
        ),
    ),
    native_size=32,
    smallest_size=8,
    reference="Nobody, A Network for a Test, 2026",
    address="https://example.org/toy",
)
