"""Ends a worker process with the process that it works for, however that one ends."""

import os
import select
import threading


def end_with(process: int) -> None:
    """Ends this process, from a thread that waits, as soon as another one has ended.

    A parent that is killed (SIGKILL, SIGTERM, SIGHUP) tells its children nothing, and they wait for
    work for ever, holding its output open.

    Args:
      process: number of the other process.
    """
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        os._exit(1)
    threading.Thread(target=_end_after, args=(descriptor,), daemon=True).start()


def _end_after(descriptor: int) -> None:
    select.select([descriptor], [], [])  # a process's descriptor can be read when it has ended
    os._exit(1)
