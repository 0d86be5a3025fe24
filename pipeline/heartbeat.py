"""A line each minute while a step runs that does not say how far it is, as TFX's own do not."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from inception_finetune.components.steps import Step

EVERY: Final = 60.0  # seconds
SHOW_PROGRESS: Final = frozenset(
    {Step.TRUNK_FEATURES, Step.TUNER, Step.TRAINER, Step.TEST_PREDICTIONS}
)


@contextmanager
def heartbeat(say: Callable[[str], None], every: float = EVERY) -> Iterator[Callable[[str], None]]:
    """Says how long a step has been running, until the next one begins.

    Args:
      say: prints a line.
      every: seconds between lines.

    Yields:
      A function to be called with the name of each step as it begins.
    """
    steps: queue.Queue[str | None] = queue.Queue()

    def beat() -> None:
        step: str | None = ""
        beats = 0
        while step is not None:
            try:
                step, beats = steps.get(timeout=every), 0
            except queue.Empty:
                beats += 1
                if step and step not in SHOW_PROGRESS:
                    say(f"{step}: running for {beats * every / 60:.0f} min")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield steps.put
    finally:
        steps.put(None)
        thread.join()
