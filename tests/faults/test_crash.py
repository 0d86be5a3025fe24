"""The whole command, killed with SIGKILL at random points of random steps; ``make test-faults``.

CRASHES says how many times (3 take about 5 minutes on 2 busy cores), CRASH_SEED where.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("CRASH_SEED", "0"))
CRASHES = int(os.environ.get("CRASHES", "3"))
BEFORE = "fetch and convert"  # what comes before the first step is announced
EXAMPLES = 1797


class Command:
    """The smallest real pipeline, in a process of its own; notes when each step begins."""

    def __init__(self, place: Path, seed: int) -> None:
        arguments = [
            *("run", "--config", "digits", f"root={place / 'root'}", f"cache={place / 'cache'}"),
            *("image.size=32", "image.central_crop=1.0", "backbone.handle=scratch_cnn"),
            *("training.epochs=1", "gate.min_accuracy=0.0", "gate.max_accuracy_loss=0.9"),
            f"dataset.seed={seed}",  # another one, and every step runs again
        ]
        self.started = {BEFORE: time.monotonic()}
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
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
        self.follow(step)
        time.sleep(delay)
        alive = self.process.poll() is None
        os.killpg(self.process.pid, signal.SIGKILL) if alive else None
        self.process.wait()
        return alive


def versions(place: Path) -> dict[str, str]:
    """A hash of each pushed version that a reader would take: saved_model.pb comes last."""
    found = {}
    for graph in (place / "root/serving/digits").glob("*/saved_model.pb"):
        digest = hashlib.sha256()
        for path in sorted(graph.parent.rglob("*")):
            digest.update(str(path.relative_to(graph.parent)).encode())
            digest.update(path.read_bytes() if path.is_file() else b"")
        found[graph.parent.name] = digest.hexdigest()
    return found


def unreadable(place: Path, names: set[str]) -> list[str]:
    """Which of these versions do not load and answer."""
    import tensorflow as tf

    wrong = []
    for name in sorted(names):
        try:
            model = tf.saved_model.load(str(place / "root/serving/digits" / name))
            answer = model.signatures["predict_images"](images=tf.constant([b"no picture"]))
            assert answer["label_id"].numpy().tolist() == [-1]
        except Exception as error:  # whatever it is, the version is not whole
            wrong.append(f"{name}: {error}")
    return wrong


def missing_artifacts(place: Path) -> list[str]:
    """Artifacts that the metadata call published, whose files are not there."""
    import ml_metadata as mlmd
    from ml_metadata.proto import metadata_store_pb2

    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(place / "root/metadata.sqlite")
    published = metadata_store_pb2.Artifact.LIVE
    return [
        artifact.uri
        for artifact in mlmd.MetadataStore(connection).get_artifacts()
        if artifact.state == published and not list(Path(artifact.uri).glob("*"))
    ]


def examples_of_newest_run(place: Path) -> int:
    import tensorflow as tf

    from components.record_index import COMPRESSION

    artifacts = (place / "root/artifacts/ImportExampleGen/examples").iterdir()
    newest = max(artifacts, key=lambda path: int(path.name))
    records = tf.data.TFRecordDataset(sorted(map(str, newest.glob("Split-*/*"))), COMPRESSION)
    return sum(1 for _ in records)


def test_a_run_killed_anywhere_is_completed_by_the_next_one(tmp_path, recorder):
    seconds = Command(tmp_path, seed=0).complete()
    assert list(seconds)[1] == "ImportExampleGen" and list(seconds)[-1] == "Pusher"
    chance = random.Random(SEED)
    steps = list(seconds)
    chance.shuffle(steps)
    failures = []
    for number in range(CRASHES):
        step = steps[number % len(steps)]  # each in turn, so that none is left out
        before = versions(tmp_path)
        delay = chance.uniform(0, seconds[step])
        killed = Command(tmp_path, seed=number + 1).kill(step, delay)
        after_kill = versions(tmp_path)
        changed = [name for name in before if after_kill.get(name) != before[name]]
        broken = unreadable(tmp_path, after_kill.keys() - before.keys())
        next_one = Command(tmp_path, seed=number + 1)
        try:
            next_one.complete()
            told = ""
        except AssertionError as error:
            told = str(error).strip().splitlines()[-1]
        after = versions(tmp_path)
        changed += [name for name in after_kill if after.get(name) != after_kill[name]]
        pushed = after.keys() - before.keys()
        broken += unreadable(tmp_path, pushed - after_kill.keys())
        lost = len(changed) + len(broken) + len(missing_artifacts(tmp_path))
        whole = not told and bool(pushed) and examples_of_newest_run(tmp_path) == EXAMPLES
        print(
            f"{number}: {step} + {delay:.1f} s, killed={killed}, {told or 'completed'}", flush=True
        )
        if killed:  # else the run was done before: nothing was tried
            recorder.add(
                "crash",
                f"SIGKILL in {step}",
                survived=whole and not lost,
                lost=lost,
                message=told or "the next run completes",
            )
        if not whole or lost:
            failures.append((step, delay, told, changed, broken))
    assert not failures
