"""The configuration's section `backbone`."""

from typing import Any, Final

from pydantic import field_validator, model_validator

from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.backbone.networks import AUTO, NETWORKS
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.components.io.address import Address
from inception_finetune.components.settings import Section

STANDIN: Final = "standin"  # a handle: the network with random weights


class BackboneSection(Section):
    """Which pretrained network is used, and from which block on it is trained."""

    # One of components/backbone/networks, or "auto": the one that the weights belong to.
    network: str = "inception_v3"
    # A TF-Hub URL or directory of a feature vector of that network, by default Google's own; or
    # "standin", which is not pretrained.
    handle: Address = INCEPTION_V3.module
    trainable_from: str = "Mixed_7a"  # first block that is trained; "head" or "all" too
    fresh: bool = False  # trained blocks start from a fresh initialisation, not the checkpoint

    @model_validator(mode="before")
    @classmethod
    def _has_a_module(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "handle" in values:
            return values
        network = NETWORKS.get(str(values.get("network")))
        if network is None:
            return values
        if not network.module:
            raise ValueError(
                f"backbone.handle is missing, and {network.name} has no module on TF-Hub. Give a "
                "folder, an archive or a URL, or standin, which is not pretrained"
            )
        return {**values, "handle": network.module}

    @field_validator("network")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in (AUTO, *NETWORKS):
            raise ValueError(f"must be one of {', '.join(NETWORKS)}, or {AUTO}")
        return value

    @model_validator(mode="after")
    def _begins_at_a_block(self) -> "BackboneSection":
        if self.network != AUTO:
            require_block(NETWORKS[self.network], self.trainable_from)
        elif self.handle == STANDIN:
            raise ValueError(
                f"backbone.network is {AUTO}, and backbone.handle={STANDIN} has no "
                "weights to tell it by. Set backbone.network to one of "
                f"{', '.join(NETWORKS)}"
            )
        return self


def require_block(backbone: Backbone, trainable_from: str) -> None:
    """Checks that the network has a block to train from.

    Raises:
        ValueError: it has no such block.
    """
    if trainable_from not in backbone.trainable_from:
        raise ValueError(
            f"backbone.trainable_from is {trainable_from}, which {backbone.name} "
            f"does not have. Set it to one of {', '.join(backbone.trainable_from)}"
        )
