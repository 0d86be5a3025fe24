"""The configuration's section `image`."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from inception_finetune.components.image.rand_augment import HIGHEST, MOST_OPERATIONS
from inception_finetune.components.image.views import IDENTITY, VIEWS
from inception_finetune.components.settings import Section

SMALLEST_IMAGE, LARGEST_IMAGE = 8, 1024  # pixels; the largest bounds memory
_Share = Annotated[float, Field(ge=0, le=1)]


class Augmentation(Section):
    """How random views are drawn. Neither validation nor test pictures are ever shown so."""

    crop_area: Annotated[float, Field(gt=0, le=1)] = 0.5  # least share of the area that is kept
    crop_aspect: Annotated[float, Field(ge=1, le=4)] = 4 / 3  # of the crop, at most; or its inverse
    flip: _Share = 0.5  # chance of being mirrored, left to right
    brightness: _Share = 0.2  # highest change, as a share
    contrast: _Share = 0.2
    saturation: _Share = 0.2
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # highest turn, in turns
    rand_augment: int = Field(0, ge=0, le=MOST_OPERATIONS)  # operations on each image
    magnitude: Annotated[float, Field(ge=0, le=HIGHEST)] = 9.0  # of these operations
    erase: _Share = 0.0  # chance that a rectangle is greyed out


class TrainViews(Section):
    """The views of each train image, of which each epoch takes one at random."""

    views: tuple[str, ...] = (IDENTITY,)  # the same for every image
    # Where the trunk is stored, so many are drawn once for each image; else at each step anew.
    random_views: int = Field(0, ge=0, le=64)
    augmentation: Augmentation = Augmentation()

    @property
    def count(self) -> int:
        """Number of views of each image."""
        return len(self.views) + self.random_views

    @field_validator("views")
    @classmethod
    def _are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known(value)

    @model_validator(mode="after")
    def _is_not_empty(self) -> "TrainViews":
        if not self.count:
            raise ValueError(
                "views is empty and random_views is 0: train images need one view or more. "
                "Set random_views, or views to [identity]"
            )
        return self


class Image(TrainViews):
    """How images are cropped and resized, and which views of them are trained on."""

    size: int = Field(299, ge=SMALLEST_IMAGE, le=LARGEST_IMAGE)  # side in pixels, after resizing
    central_crop: Annotated[float, Field(gt=0, le=1)] = 0.875  # share of each side that is kept
    # The served model's answer is the mean of its answers to these views.
    served_views: tuple[str, ...] = Field((IDENTITY,), min_length=1)

    @field_validator("served_views")
    @classmethod
    def _are_known_too(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known(value)

    @property
    def train_views(self) -> TrainViews:
        """The views of train images alone."""
        return TrainViews.model_validate(self.model_dump(include=set(TrainViews.model_fields)))


def _known(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value) or not set(value) <= set(VIEWS):
        raise ValueError(f"must be distinct names of {', '.join(VIEWS)}")
    return value
