"""How far a Beam step is, while it runs in this process; on other engines, their own pages tell."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from inception_finetune.components.progress import Advance, progress

_IN_THIS_PROCESS = "in_memory"  # of Beam's option direct_running_mode


class _Watch:
    """What workers in this process report to; Beam may run several of them as threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.expected = 0
        self.advance: Advance | None = None


_watch = _Watch()


@contextmanager
def watched(pipeline: Any, description: str, unit: str) -> Iterator[None]:
    """Shows how far a pipeline is that runs inside of the context, if it does so in this process.

    Args:
      pipeline: a `beam.Pipeline`.
      description: of what it does.
      unit: of `expect` and `advance`.
    """
    options = pipeline.options.get_all_options()
    is_here = isinstance(pipeline.runner, FnApiRunner) and (
        options["direct_running_mode"] == _IN_THIS_PROCESS
    )
    _watch.expected = 0
    shown = progress(description, lambda: _watch.expected or None, unit) if is_here else None
    with shown or nullcontext() as _watch.advance:
        try:
            yield
        finally:
            _watch.advance = None


def expect(n: int) -> None:
    """Is called by a worker that knows of `n` more units to come."""
    with _watch.lock:
        _watch.expected += n


def advance(n: int) -> None:
    """Is called by a worker that has done `n` units."""
    with _watch.lock:
        if _watch.advance is not None:
            _watch.advance(n)
