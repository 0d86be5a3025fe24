"""The command `serve` in a process of its own, on a free port of loopback."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Served:
    """The process, and what it has said so far."""

    process: subprocess.Popen
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def wait_for(self, pattern: str, seconds: float = 60) -> str:
        """The first line so far or to come that has the pattern."""
        return until(
            lambda: next((line for line in self.lines if re.search(pattern, line)), None), seconds
        )

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def until(found: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while (value := found()) is None:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


@contextmanager
def serving(versions: Path, *options: str) -> Iterator[Served]:
    """Serves the folder as the model `digits` until the block ends."""
    command = [sys.executable, "-m", "inception_finetune", "serve", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--versions", str(versions), *options], stderr=subprocess.PIPE, text=True
    )
    served = Served(process)

    def listen() -> None:
        for line in process.stderr or ():
            served.lines.append(line.rstrip())

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        served.url = re.findall(r"http\S+", served.wait_for("listening on"))[0].rstrip("/,")
        served.wait_for("is ready")
        yield served
    finally:
        process.kill()
        process.wait()
        listener.join(10)
