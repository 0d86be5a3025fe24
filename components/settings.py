"""Base class of the configuration's sections. Imports neither TensorFlow nor TFX."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """An immutable section of settings; unknown keys are refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")
