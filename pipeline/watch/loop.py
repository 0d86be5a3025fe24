"""Pass after pass, each in a process of its own, with which its memory ends."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable

from inception_finetune.components.lifetime import end_with
from inception_finetune.pipeline.config import Config


def watch_for_ever(
    config: Config,
    every: float,
    one_pass: Callable[[Config, bool], None],
    *,
    verbose: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Makes a pass, waits until the next is due, and so on, until Ctrl-C.

    Args:
      config: of the pipeline.
      every: seconds from the begin of a pass to the begin of the next; a longer one is not cut.
      one_pass: makes a pass and says what went wrong in it; can be pickled.
      verbose: is passed on to it.
      pause: waits so many seconds.
    """
    # Not a fork: threads of TensorFlow's would not survive it.
    context = multiprocessing.get_context("spawn")
    arguments = (os.getpid(), one_pass, config, verbose)
    try:
        while True:
            begun = time.monotonic()
            process = context.Process(target=_in_process, args=arguments)
            try:
                process.start()
                process.join()
            finally:
                if process.is_alive():  # where Ctrl-C has not reached both
                    process.terminate()
                    process.join()
            if process.exitcode is not None and process.exitcode < 0:
                _tell_of_signal(-process.exitcode)
            pause(max(0.0, begun + every - time.monotonic()))
    except KeyboardInterrupt:
        print("ended by Ctrl-C", flush=True)


def _tell_of_signal(number: int) -> None:
    """A pass that was killed, for want of memory perhaps, cannot tell of it."""
    print(
        f"error: The pass was ended by signal {number} ({signal.strsignal(number)}). "
        "The next one takes up what it left.",
        file=sys.stderr,
        flush=True,
    )


def _in_process(
    parent: int, one_pass: Callable[[Config, bool], None], config: Config, verbose: bool
) -> None:
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches both; the parent tells of it
    one_pass(config, verbose)
