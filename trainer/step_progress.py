"""What a person at the terminal sees of training."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from inception_finetune.components.progress import Advance, progress
from inception_finetune.trainer.loop import EpochFacts, Observer, Plan, StepFacts


class ProgressLines(Observer):
    """A bar with loss and accuracy, and a line for each epoch, which a log gets too."""

    def __init__(self, advance: Advance, plan: Plan) -> None:
        self._advance = advance
        self._plan = plan
        self._epochs = -(-plan.total_steps // plan.steps_per_epoch)

    def on_step(self, facts: StepFacts) -> None:
        note = f"loss {facts.result.loss:.3f}  accuracy {facts.result.accuracy:.3f}"
        self._advance(self._plan.training.batch_size, note)

    def on_epoch(self, facts: EpochFacts) -> None:
        line = (
            f"epoch {facts.epoch}/{self._epochs}: "
            f"loss {facts.loss:.4f}, accuracy {facts.accuracy:.4f}; validation "
            f"loss {facts.validation.loss:.4f}, accuracy {facts.validation.accuracy:.4f}"
        )
        print(line, file=sys.stderr, flush=True)


@contextmanager
def progress_lines(plan: Plan, start: int) -> Iterator[ProgressLines]:
    """`start` steps were done before."""
    size = plan.training.batch_size
    if start:
        print(f"training: goes on after step {start:,}", file=sys.stderr, flush=True)
    with progress("training", plan.total_steps * size, "images", done=start * size) as advance:
        yield ProgressLines(advance, plan)
