"""The settings of TrunkFeatures: all that its result depends on besides its input artifacts."""

from inception_finetune.components.backbone.compute_dtype import ComputeDtype
from inception_finetune.components.image.settings import TrainViews
from inception_finetune.components.settings import Section


class TrunkSettings(Section):
    """Every setting whose change requires running the trunk again, and no other."""

    network: str  # one of components/backbone/networks
    backbone_directory: str  # a resolved module
    backbone_fingerprint: str  # sha256 of its files
    trainable_from: str  # the block that the trunk ends before, or "head"
    image_size: int  # side in pixels
    compute_dtype: ComputeDtype
    views: TrainViews
    code_fingerprint: str  # sha256 of the code that computes features
    # sha256 of the code and the settings of Transform, which prepares the images: where it is the
    # same, features of the same pictures are taken from an earlier artifact. Empty takes none.
    transform_fingerprint: str = ""
