"""A server in a process of its own, with bounds on its memory and its time."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from inception_finetune.components.errors import UserError
from inception_finetune.components.infra_validator import guard
from inception_finetune.components.infra_validator.refusal import Refusal
from inception_finetune.components.infra_validator.settings import (
    GRPC_PORT,
    MODEL_BASE_PATH,
    MODEL_NAME,
    REST_PORT,
    SERVE,
    InfraSection,
)
from inception_finetune.components.shown_text import visible

# Our server, by its command: this package knows nothing of the one that it is in.
_SERVE: Final = (
    *(sys.executable, "-m", "inception_finetune", "serve", f"name='{MODEL_NAME}'"),
    *("--versions", MODEL_BASE_PATH, "--port", REST_PORT),
)
# The process that this one is a part of holds the GPU, all of its memory. A command line that is to
# have it says so: [env, CUDA_VISIBLE_DEVICES=0, tensorflow_model_server, ...].
_ENVIRONMENT: Final = {"CUDA_VISIBLE_DEVICES": "-1"}
_MOMENT: Final = 1.0  # seconds
_END_SECONDS: Final = 30.0  # that the guard takes at most
_LONGEST: Final = 200  # characters of the server's own words
_MIB: Final = 1 << 20


@dataclass
class Server:
    """The process, and where it answers."""

    rest_port: int | None
    grpc_port: int | None
    deadline: float  # by time.monotonic()
    started: float
    _process: subprocess.Popen[str]
    _log: Path
    _settings: InfraSection
    report: guard.Report | None = None  # once it has ended

    def remaining(self) -> float:
        """Returns the seconds that are left.

        Raises:
          Refusal: there are none, or the server has ended.
        """
        if self._process.poll() is not None:
            self.end()
            raise Refusal(self._why_it_ended())
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Refusal(
                f"it was not loaded and asked within infra.seconds={self._settings.seconds:g}"
                f"{self._last_words()}. Raise it, or look for what holds the server up"
            )
        return left

    def end(self) -> guard.Report:
        """Ends all processes of the server; those that are told to end have 5 s to do so."""
        if self.report is None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
            try:
                said, _ = self._process.communicate(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()  # the server ends with it
                said, _ = self._process.communicate()
            self.report = guard.Report(**json.loads(said or "{}"))
        return self.report

    def require_running(self) -> None:
        """Raises Refusal: the server has ended, or does so within a moment, or its time is over.

        Its connections break before its end is known.
        """
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_MOMENT)
        self.remaining()

    def require_ended_by_us(self) -> None:
        """Ends the server, and raises Refusal: it had ended before, or used too much memory."""
        report = self.end()
        if report.over or report.status is not None:
            raise Refusal(self._why_it_ended())

    def _why_it_ended(self) -> str:
        report = self.end()
        if report.over:
            return (
                f"the server used {report.peak / 1e9:.2f} GB, more than "
                f"infra.max_memory={self._settings.max_memory:g}. Raise it, or take a smaller model"
            )
        status = report.status
        how = "an unknown status" if status is None else f"status {status}"
        if status is not None and status < 0:
            how = f"signal {-status} ({signal.strsignal(-status)})"
        return f"the server ended with {how}{self._last_words()}. Mend what it says"

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").split("\n") if self._log.exists() else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f" ({visible(last)[:_LONGEST].rstrip('.')})" if last else ""


@contextmanager
def started_server(
    name: str, versions: Path, settings: InfraSection, scratch: Path, largest: int
) -> Iterator[Server]:
    """Starts a server, and ends it and its children however the block ends.

    Args:
      name: of the model.
      versions: the folder of its versions.
      settings: which server, and what it may take.
      scratch: a folder for its output.
      largest: bytes of the largest body that it will be sent.

    Yields:
      The server, which is still loading.

    Raises:
      UserError: there is no such program.
    """
    ports = dict(zip((REST_PORT, GRPC_PORT), _free_ports(2), strict=True))
    words = _words(settings, largest)
    values = {MODEL_NAME: name, MODEL_BASE_PATH: str(versions), **ports}
    command = [_filled(word, values) for word in words]
    require_program(settings)
    log = scratch / "server.log"
    most = 0 if settings.max_memory is None else int(settings.max_memory * 1e9)
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", guard.__name__, str(os.getpid()), str(most), str(log), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | _ENVIRONMENT,
        start_new_session=True,  # Ctrl-C ends us, and we end it
    )
    asked = {port: number for port, number in ports.items() if any(port in word for word in words)}
    server = Server(
        rest_port=asked.get(REST_PORT),
        grpc_port=asked.get(GRPC_PORT),
        deadline=started + settings.seconds,
        started=started,
        _process=process,
        _log=log,
        _settings=settings,
    )
    try:
        yield server
    finally:
        server.end()


def require_program(settings: InfraSection) -> None:
    """Raises UserError: the program of the server's command line is not on this machine."""
    if not isinstance(settings.server, str) and shutil.which(settings.server[0]) is None:
        raise UserError(
            f"No program {settings.server[0]!r} of infra.server on this machine. Install it, or "
            "set infra.server to serve or none."
        )


def shown_server(settings: InfraSection) -> str:
    """The server as people read it."""
    return settings.server if isinstance(settings.server, str) else shlex.join(settings.server)


def _words(settings: InfraSection, largest: int) -> Sequence[str]:
    if settings.server != SERVE:
        return settings.server
    # Test pictures may be larger than what it takes by default from anybody.
    return (*_SERVE, "--max-body", str(max(32, largest // _MIB + 1)))


def _filled(word: str, values: dict[str, object]) -> str:
    for placeholder, value in values.items():
        word = word.replace(placeholder, str(value))
    return word


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that are free now, no two alike."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()
