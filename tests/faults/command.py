"""The smallest real pipeline as the command `run`, in a process of its own, and what it leaves."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

BEFORE = "fetch and convert"  # what comes before the first step is announced
COPYING = "Pusher, while it copies"  # not announced: a hidden folder appears
NAME = "digits"
_ENDS = time.monotonic() + 60 * float(os.environ.get("FAULT_MINUTES", "inf"))


def in_time() -> bool:
    """Whether a long suite may go on; where not, it reports as many tries as there were."""
    return time.monotonic() < _ENDS


def told(stderr: str) -> list[str]:
    """Lines beside the steps that were announced, and their progress."""
    progress = re.compile(r"\w+|Converting: .*|\w+: running for \d+ min")
    return [line for line in stderr.splitlines() if not progress.fullmatch(line.strip())]


def serving(place: Path) -> Path:
    return place / "root/serving" / NAME


class Command:
    """Notes when each step begins. What is in `more` overrides the rest, as on a command line."""

    def __init__(
        self, place: Path, *more: str, seed: int, environment: Mapping[str, str] | None = None
    ) -> None:
        arguments = [
            *("run", "--config", NAME, f"root={place / 'root'}", f"cache={place / 'cache'}"),
            *("image.size=32", "image.central_crop=1.0", "backbone.network=scratch_cnn"),
            *("training.epochs=1", "gate.min_accuracy=0.0", "gate.max_accuracy_loss=0.9"),
            "infra.server=none",
            f"dataset.seed={seed}",  # another one, and every step runs again
            *more,
        ]
        self.place = place
        self.started = {BEFORE: time.monotonic()}
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "inception_finetune", *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )

    def follow(self, until: str | None = None) -> None:
        """Reads what it says, until the step `until` begins or all is done."""
        assert self.process.stderr is not None
        while until not in self.started and (line := self.process.stderr.readline()):
            self.said.append(line)
            if line.strip().isidentifier():
                self.started[line.strip()] = time.monotonic()

    def complete(self) -> dict[str, float]:
        """How long each step took, in seconds."""
        self.follow()
        status = self.process.wait()
        assert status == 0, "".join(self.said)
        ends = [*list(self.started.values())[1:], time.monotonic()]
        return {
            step: end - begin for (step, begin), end in zip(self.started.items(), ends, strict=True)
        }

    def kill(self, step: str, delay: float) -> bool:
        """SIGKILL, `delay` seconds after `step` begins; whether it was still running then."""
        if step == COPYING:
            unfinished(self.place)  # imports what the next calls need, which takes long
            self.follow("Pusher")
            while not unfinished(self.place) and self.process.poll() is None:
                time.sleep(0.0002)
        else:
            self.follow(step)
        time.sleep(delay)
        alive = self.process.poll() is None
        os.killpg(self.process.pid, signal.SIGKILL) if alive else None
        self.process.wait()
        return alive


def unfinished(place: Path) -> list[Path]:
    """Folders of pushes that are under way, or were killed."""
    from inception_finetune.components.pusher.serving_folder import UNFINISHED

    return list(serving(place).glob(f"{UNFINISHED}*"))


def metadata(place: Path):
    import ml_metadata as mlmd
    from ml_metadata.proto import metadata_store_pb2

    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(place / "root/metadata.sqlite")
    return mlmd.MetadataStore(connection)


def missing_artifacts(place: Path) -> list[str]:
    """Artifacts that the metadata call published, whose files are not there."""
    from ml_metadata.proto import metadata_store_pb2

    published = metadata_store_pb2.Artifact.LIVE
    return [
        artifact.uri
        for artifact in metadata(place).get_artifacts()
        if artifact.state == published
        and not list(Path(artifact.uri).glob("*"))
        and not _is_refused(artifact)
    ]


def _is_refused(artifact) -> bool:
    """A push that was none has an artifact without files."""
    properties = artifact.custom_properties
    return "pushed" in properties and not properties["pushed"].int_value
