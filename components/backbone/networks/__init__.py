"""The networks that can be fine-tuned, by name. A new one is a file here and a line below."""

from typing import Final

from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.backbone.networks.inception_resnet_v2 import INCEPTION_RESNET_V2
from inception_finetune.components.backbone.networks.inception_v1 import INCEPTION_V1
from inception_finetune.components.backbone.networks.inception_v2 import INCEPTION_V2
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.components.backbone.networks.inception_v4 import INCEPTION_V4
from inception_finetune.components.backbone.networks.scratch_cnn import SCRATCH_CNN

NETWORKS: Final[dict[str, Backbone]] = {
    network.name: network
    for network in (
        INCEPTION_V1,
        INCEPTION_V2,
        INCEPTION_V3,
        INCEPTION_V4,
        INCEPTION_RESNET_V2,
        SCRATCH_CNN,
    )
}
AUTO: Final = "auto"  # whichever of them the weights are of
