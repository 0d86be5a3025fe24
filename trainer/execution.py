"""How a training is carried out: what changes nothing in its result.

TFX's cache covers all that a component is given, and a change of it trains again. So this reaches
the Trainer and the Tuner by their process' environment, and by nothing that TFX knows.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pydantic import Field, ValidationError

from inception_finetune.components.errors import UserError
from inception_finetune.components.settings import Section

VARIABLE: Final = "INCEPTION_FINETUNE_EXECUTION"


class Execution(Section):
    work: str  # folder that outlives a killed run, for checkpoints and the logs of trials
    checkpoint_every: int = Field(ge=1)  # steps

    def as_variable(self) -> dict[str, str]:
        """The environment that `current` reads."""
        return {VARIABLE: self.model_dump_json()}


@contextmanager
def in_environment(execution: Execution) -> Iterator[None]:
    """Trainings in this process, and in those that it starts, are carried out as `execution`."""
    before = os.environ.get(VARIABLE)
    os.environ.update(execution.as_variable())
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def current() -> Execution:
    """What the environment says.

    Raises:
      UserError: it says nothing, or what this version does not understand.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        return Execution.model_validate_json(text)
    except ValidationError:
        raise UserError(
            f"{VARIABLE} in the environment is {text!r}, which does not say where checkpoints go: "
            "whoever runs the pipeline sets it. Start it with `inception-finetune run`, or compile "
            "the package again"
        ) from None
