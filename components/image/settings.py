"""The configuration's section `image`."""

from typing import Annotated

from pydantic import Field, field_validator

from inception_finetune.components.image.views import IDENTITY, VIEWS
from inception_finetune.components.settings import Section

SMALLEST_IMAGE, LARGEST_IMAGE = 8, 1024  # pixels; the largest bounds memory


class Image(Section):
    """How images are cropped and resized, and which views of them are trained on."""

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
