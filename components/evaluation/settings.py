"""The configuration's section `gate`."""

from typing import Annotated

from pydantic import Field

from inception_finetune.components.settings import Fraction, Section


class Gate(Section):
    min_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.7985  # on test; the 2017 article's result
    max_accuracy_loss: Fraction = 0.0  # tolerated against the latest blessed model
    every_class: bool = False  # whether the bound must hold for each class by itself
    batch_size: int = Field(256, ge=1)  # test images given to the exported model at a time
