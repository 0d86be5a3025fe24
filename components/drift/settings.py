"""The configuration's section `drift`."""

from typing import Annotated

from pydantic import Field, model_validator

from inception_finetune.components.settings import Fraction, Section


class Drift(Section):
    """How new images are compared with the training images."""

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
                f"drift.permutations is {self.permutations}, too few for drift.false_alarm: at "
                f"least 20 / {self.false_alarm} = {least:.0f} are needed. Raise one of them"
            )
        return self


class Watch(Section):
    """When `watch` runs the pipeline.

    Days are those of the spans, not of a clock; where spans are no dates, they are their numbers.
    """

    # Chance that a model of which nothing has changed raises an alarm, over all tests of all spans
    # from when it goes into service until it is replaced.
    false_alarm: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    new_pictures: int | None = Field(None, ge=1)  # that it was not trained on; null: no matter
    max_age: int | None = Field(None, ge=1)  # days from its newest span to the newest; null: any
    cool_down: int = Field(1, ge=0)  # days from one run to the next, whatever the reason, at least
    # Of a test that is calibrated by them: as many as a look's level needs, but no more.
    permutations: int = Field(10_000_000, ge=1000)
