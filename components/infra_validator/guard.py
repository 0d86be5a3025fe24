"""Starts a server, watches its memory, and ends it and all of its children in every case.

``python -m inception_finetune.components.infra_validator.guard PARENT BYTES LOG COMMAND...``: the
process that is waited for, a bound on memory (0 is none), a file for the server's output. Ends with
the server, or on SIGTERM, or with PARENT however that one ends, and writes a `Report` as JSON.

It is a process of its own because children of a killed process are nobody's: this one adopts them
(PR_SET_CHILD_SUBREAPER), those too that have left their parents' group or session. Should it be
killed itself, the server's first process ends with it (PR_SET_PDEATHSIG). It imports nothing heavy.
"""

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

_SET_PDEATHSIG: Final = 1  # of prctl(2)
_SET_CHILD_SUBREAPER: Final = 36
_LOOK: Final = 0.05  # seconds between two looks
_GRACE: Final = 5.0  # seconds between SIGTERM and SIGKILL
_NO_PROGRAM: Final = 126  # exit status, as of shells
# RLIMIT_AS would bound addresses, of which TensorFlow reserves three times what it uses, and
# RLIMIT_DATA kills each process by itself, with a stack trace for a reason. So resident memory is
# watched, and RLIMIT_DATA at twice the bound stops what grows faster than that.
_DATA_PER_RESIDENT: Final = 2


@dataclass
class Report:
    """How the server ended."""

    status: int | None = None  # of its first process, where it ended by itself; negative: a signal
    over: bool = False  # it was ended because it used more than the bound
    peak: int = 0  # bytes resident in all of its processes together


class Guard:
    """The server's processes: children of this one, and theirs."""

    def __init__(self, parent: int, most: int) -> None:
        """Nothing is started yet.

        Args:
          parent: the process that is waited for.
          most: bytes that may be resident; 0 is any number.

        Raises:
          ProcessLookupError: there is no such process any more.
        """
        self._parent = os.pidfd_open(parent)
        self._most = most
        self._ending = False
        self.report = Report()

    def run(self, log: Path, command: list[str]) -> None:
        """Returns when no process of the server is left.

        Args:
          log: file for the server's output.
          command: its words.
        """
        signal.signal(signal.SIGTERM, self._end_soon)
        _prctl(_SET_CHILD_SUBREAPER, 1)
        with log.open("wb") as output:
            try:
                server = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    preexec_fn=self._limit,  # this process has one thread
                )
            except OSError as error:  # it is there, and no program
                output.write(str(error).encode())
                self.report.status = _NO_PROGRAM
                return
        try:
            self._watch(server)
        finally:
            self._end()

    def _limit(self) -> None:
        """In the child, before the server's program begins."""
        _prctl(_SET_PDEATHSIG, signal.SIGKILL)
        if self._most:
            bound = _DATA_PER_RESIDENT * self._most
            resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))

    def _end_soon(self, *_: object) -> None:
        self._ending = True

    def _watch(self, server: subprocess.Popen[bytes]) -> None:
        while not self._ending and server.poll() is None:
            self._measure()
            if self._most and self.report.peak > self._most:
                self.report.over = True
                return
            if select.select([self._parent], [], [], _LOOK)[0]:
                return
        self.report.status = server.returncode

    def _measure(self) -> None:
        """The sum of this moment, or the mark of one process if that is higher."""
        sizes = [_resident(process) for process in descendants(os.getpid())]
        together = sum(now for now, _ in sizes)
        self.report.peak = max(self.report.peak, together, *(peak for _, peak in sizes), 0)

    def _end(self) -> None:
        """SIGTERM, so that a client of containers can end its own; after a while SIGKILL."""
        deadline = time.monotonic() + _GRACE
        number = signal.SIGTERM
        sent: set[int] = set()
        while left := list(descendants(os.getpid())):
            if time.monotonic() > deadline or self.report.over:
                number = signal.SIGKILL
            for process in left:
                if number == signal.SIGKILL or process not in sent:
                    sent.add(process)
                    with suppress(ProcessLookupError):
                        os.kill(process, number)
            time.sleep(_LOOK / 5)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG) != (0, 0):
                    pass


def descendants(process: int) -> Iterator[int]:
    """Yields the children of a process, and theirs, those that have ended but for their status.

    Args:
      process: its number.
    """
    children = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                # "PID (name) state parent ...", where the name may hold anything.
                parent = (entry / "stat").read_bytes().rpartition(b") ")[2].split()[1]
                children[int(parent)].append(int(entry.name))
    pending = list(children[process])
    while pending:
        one = pending.pop()
        yield one
        pending += children[one]


def _resident(process: int) -> tuple[int, int]:
    """Bytes that a process has in memory, and that it has had at most; 0 where it has ended."""
    sizes = {"VmRSS": 0, "VmHWM": 0}
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if name in sizes:
                sizes[name] = int(value.split()[0]) * 1024
    return sizes["VmRSS"], sizes["VmHWM"]


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def main() -> None:
    """Runs the command of the arguments."""
    parent, most, log, *command = sys.argv[1:]
    guard = Guard(int(parent), int(most))
    try:
        guard.run(Path(log), command)
    finally:
        with suppress(OSError):  # nobody reads it where the parent has ended
            print(json.dumps(asdict(guard.report)), flush=True)


if __name__ == "__main__":
    main()
