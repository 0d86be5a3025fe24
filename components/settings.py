"""The sections of the configuration that components read. Knows neither TensorFlow nor TFX."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from components.backbone.network import Backbone
from components.backbone.networks import AUTO, NETWORKS
from components.backbone.networks.inception_v3 import INCEPTION_V3
from components.dataset.bad_examples import OnBadExample, OnLeakage, Policy
from components.views import IDENTITY, VIEWS

STANDIN: Final = "standin"  # a handle: the network with random weights
SMALLEST_IMAGE, LARGEST_IMAGE = 8, 1024  # pixels; the largest bounds memory

Fraction = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Frozen; unknown keys are refused by name."""

    # Numbers become text where text is asked for: YAML reads archive=2017 as a number.
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Dataset(Section):
    # "cifar10", "digits", a path or URL of a CIFAR-layout archive, a folder of pictures or of
    # TFRecords, or a list of pictures (.tsv): see docs/data.md.
    archive: str = "cifar10"
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")  # of the archive, when it is known
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1  # carved out of train
    test_fraction: Fraction = 0.1  # of a folder or list that names no test pictures
    seed: int = 0  # of the validation split
    # A picture that cannot be read or a label that does not fit: stop, or leave it out by name.
    on_bad_example: OnBadExample = "fail"
    max_bad_examples: int = Field(100, ge=1)  # that may be left out; one more stops the run
    # Test pictures that are in train or validation too; "skip" leaves those copies out.
    on_leakage: OnLeakage = "fail"

    @property
    def policy(self) -> Policy:
        return Policy(self.on_bad_example, self.max_bad_examples, self.on_leakage)


class Image(Section):
    size: int = Field(299, ge=SMALLEST_IMAGE, le=LARGEST_IMAGE)  # side in pixels, after resizing
    central_crop: Annotated[float, Field(gt=0, le=1)] = 0.875  # share of each side that is kept
    # Of train images; each epoch takes one of them at random. The first is what validation sees.
    views: tuple[str, ...] = (IDENTITY,)

    @field_validator("views")
    @classmethod
    def _are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) < len(value) or not set(value) <= set(VIEWS):
            raise ValueError(f"must be distinct names of {', '.join(VIEWS)}")
        return value


class BackboneSection(Section):
    # One of components/backbone/networks, or "auto": the one that the weights belong to.
    network: str = "inception_v3"
    # A TF-Hub URL or directory of a feature vector of that network, by default Google's own; or
    # "standin", which is not pretrained.
    handle: str = INCEPTION_V3.module
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
                f"backbone.handle must be given for {network.name}: it has no module on TF-Hub. "
                "Give a folder, an archive or a URL, or standin, which is not pretrained"
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
                f"backbone.network must be named where backbone.handle is {STANDIN}, which has no "
                f"weights to tell it by: one of {', '.join(NETWORKS)}"
            )
        return self


def require_block(backbone: Backbone, trainable_from: str) -> None:
    """Raises ValueError: the network has no such block."""
    if trainable_from not in backbone.trainable_from:
        raise ValueError(
            f"backbone.trainable_from must be one of {', '.join(backbone.trainable_from)} for "
            f"{backbone.name}, here it is {trainable_from}"
        )


class Drift(Section):
    """How new images are compared with those that were trained on."""

    # Chance that images of which nothing has changed raise an alarm, over all tests together.
    false_alarm: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    sample: int = Field(1000, ge=50)  # pictures that are looked at, at most: of each side
    permutations: int = Field(5000, ge=100)  # of a test that is calibrated by them
    label_shift: Fraction = 0.05  # the share of a class among all may move by this, in any case
    seed: int = Field(0, ge=0)  # of sample and permutations

    @model_validator(mode="after")
    def _is_fine_enough(self) -> "Drift":
        least = 20 / self.false_alarm  # several tests share the chance: each needs finer p-values
        if self.permutations < least:
            raise ValueError(
                f"drift.permutations must be at least 20 / drift.false_alarm = {least:.0f}, "
                f"here it is {self.permutations}"
            )
        return self


class Report(Section):
    """What the review page and the model card say besides what was measured."""

    overview: str = ""  # what the model is for, in a sentence
    owners: tuple[str, ...] = ()  # who answers for it
    license: str = ""  # SPDX identifier, such as Apache-2.0
    # Accuracies to compare with, by whose they are.
    references: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    pictures_per_cell: int = Field(12, ge=0)  # of the confusion matrix, the most confident ones
    pictures: int = Field(600, ge=0)  # in all; each takes 2 to 5 KB of the page
    picture_size: int = Field(96, ge=16)  # longest side in pixels, where they are larger
