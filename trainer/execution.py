"""How a training is carried out: settings that change nothing in its result.

TFX's cache depends on all that a component is given, so that a change of it trains again. These
settings therefore reach Trainer and Tuner through the environment of their process.
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
    """Where a training stores its state, and how often."""

    work: str  # folder that outlives a killed run, for checkpoints and the logs of trials
    checkpoint_every: int = Field(ge=1)  # steps
    log_every: int = Field(ge=1)  # steps

    def as_variable(self) -> dict[str, str]:
        """Returns the environment variable that `current` reads."""
        return {VARIABLE: self.model_dump_json()}


@contextmanager
def in_environment(execution: Execution) -> Iterator[None]:
    """Applies `execution` to trainings in this process and in those that it starts."""
    before = os.environ.get(VARIABLE)
    os.environ.update(execution.as_variable())
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def current() -> Execution:
    """Reads the settings from the environment.

    Raises:
      UserError: they are missing, or this version does not understand them.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        return Execution.model_validate_json(text)
    except ValidationError:
        raise UserError(
            f"{VARIABLE} in the environment is {text!r}, which does not say where checkpoints "
            "go: whoever runs the pipeline sets it. Start it with `inception-finetune run`, "
            "or compile the package again."
        ) from None
