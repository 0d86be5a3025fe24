"""A disk that is full, read-only or damaged under the whole command; ``make test-faults``."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import told

from helpers.pushing import export_model, push, served
from inception_finetune.components.errors import UserError
from inception_finetune.components.pusher.serving_folder import UNFINISHED
from inception_finetune.pipeline.failure import as_user_error

pytestmark = pytest.mark.faults

ROOM = 300  # megabytes in which the smallest run fits


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Iterator[Path]:
    """A file system of its own, 1 MB at first."""
    directory = tmp_path_factory.mktemp("a small disk")
    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)):
        pytest.skip("a file system of limited size needs the right to mount one")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], check=False).returncode == 0


def run(disk: Path) -> subprocess.CompletedProcess[str]:
    """The smallest real pipeline: a small network on the digits for one epoch."""
    arguments = [
        *("run", "--config", "digits", f"root={disk / 'root'}", f"cache={disk.parent / 'cache'}"),
        *("image.size=32", "image.central_crop=1.0", "backbone.network=scratch_cnn"),
        *("training.epochs=1", "gate.min_accuracy=0.1"),
    ]
    return subprocess.run(
        [sys.executable, "-m", "inception_finetune", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def the_one_line(failed: subprocess.CompletedProcess[str]) -> str:
    """What the command said beside the steps that it went through."""
    assert failed.returncode == 1, failed.stderr
    lines = told(failed.stderr)
    assert len(lines) == 1 and lines[0].startswith("error: "), failed.stderr
    return lines[0]


def shown(message: str, disk: Path) -> str:
    return message.removeprefix("error: ").replace(str(disk), "…")


@pytest.fixture(scope="module")
def pushed(disk, recorder) -> Path:
    """The model of a run that failed for want of room at several sizes before there was enough."""
    for size in (1, 3, 5, 8):
        assert mount("-o", f"remount,size={size}m", str(disk))
        message = the_one_line(run(disk))
        assert re.search("Free (disk )?space", message)
        recorder.add("disk", "disk full", survived=1, message=shown(message, disk))
    assert mount("-o", f"remount,size={ROOM}m", str(disk))
    completed = run(disk)
    assert completed.returncode == 0, completed.stderr
    [graph] = (disk / "root/serving/digits").glob("*/saved_model.pb")
    return graph.parent


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_run_completes_after_a_full_disk_has_stopped_it_at_many_places(pushed):
    import tensorflow as tf

    answer = tf.saved_model.load(str(pushed)).signatures["predict_images"]
    assert answer(images=tf.constant([b"no picture"]))["label_id"].numpy().tolist() == [-1]


def test_a_read_only_disk_is_named_and_nothing_changes(disk, pushed, recorder):
    before = contents(disk)
    assert mount("-o", "remount,ro", str(disk))
    try:
        message = the_one_line(run(disk))
        assert "Read-only file system" in message
    finally:
        assert mount("-o", "remount,rw", str(disk))
    assert contents(disk) == before
    recorder.add("disk", "read-only disk", survived=1, message=shown(message, disk))


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"no database" + data[11:], lambda data: data[: len(data) // 2]],
    ids=["not a database", "cut in half"],
)
def test_damaged_metadata_are_named_and_the_pushed_model_stays(
    disk, pushed, recorder, damage: Callable[[bytes], bytes]
):
    metadata, before = disk / "root/metadata.sqlite", contents(pushed)
    whole = metadata.read_bytes()
    metadata.write_bytes(damage(whole))
    try:
        message = the_one_line(run(disk))
        assert "Restore metadata.sqlite" in message
    finally:
        metadata.write_bytes(whole)
    assert contents(pushed) == before
    assert run(disk).returncode == 0
    recorder.add("disk", "damaged metadata", survived=1, message=shown(message, disk))


@pytest.fixture
def model(tmp_path) -> Path:
    return export_model(tmp_path / "model", answer=1.0)


@contextmanager
def room(disk: Path, free: int) -> Iterator[None]:
    """Fills all but `free` bytes."""
    filler, block = disk / "filler", 2**12
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(block)) == block:
                pass
        except OSError:
            file.truncate(file.tell() - free)
    try:
        yield
    finally:
        filler.unlink()


def test_a_push_without_room_leaves_nothing_and_the_next_one_is_whole(
    disk, pushed, model, recorder, tmp_path
):
    serving = disk / "served"
    push(model, serving, tmp_path / "first")
    before = served(serving)
    for free in (0, 2**13, 2**17, 2**18):
        with (
            room(disk, free),
            pytest.raises(UserError, match="Free space") as failure,
            as_user_error(),
        ):
            push(model, serving, tmp_path / "second")
        assert served(serving) == before and not list(serving.glob(f"{UNFINISHED}*"))
        recorder.add(
            "disk", "disk full at the push", survived=1, message=shown(str(failure.value), disk)
        )
    push(model, serving, tmp_path / "third")
    assert list(served(serving).values()) == 2 * list(before.values())


def test_a_push_to_a_read_only_disk_changes_nothing(disk, pushed, model, recorder, tmp_path):
    serving = disk / "served"
    before = served(serving)
    assert before and mount("-o", "remount,ro", str(disk))
    try:
        with pytest.raises(UserError, match="Read-only file system") as failure, as_user_error():
            push(model, serving, tmp_path / "archive")
    finally:
        assert mount("-o", "remount,rw", str(disk))
    assert served(serving) == before
    recorder.add(
        "disk", "read-only disk at the push", survived=1, message=shown(str(failure.value), disk)
    )
