"""Temporary folders: gone at the end, or with the next one after a kill; nothing else goes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import REPOSITORY
from inception_finetune.components.io import marked_folder
from inception_finetune.components.io.marked_folder import MARKER, scratch_folder

SCRIPT = """
import signal, sys
from pathlib import Path
from inception_finetune.components.io.marked_folder import scratch_folder
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup makes all below it ignore
with scratch_folder(".records-", Path(sys.argv[1])) as folder:
    (folder / "new").mkdir()
    (folder / "new/shard").write_text("a copy of the data")
    print(folder, flush=True)
    sys.stdin.read()
"""


def start(parent: Path) -> tuple[subprocess.Popen, Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("killed_by", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_what_a_killed_process_left_goes_with_the_next(tmp_path, killed_by):
    process, left = start(tmp_path)
    with scratch_folder(".records-", tmp_path):
        assert (left / "new/shard").exists()  # it is in use
    process.send_signal(killed_by)
    process.wait(timeout=60)
    assert (left / "new/shard").exists()
    with scratch_folder(".other-", tmp_path):
        assert left.exists()
    with scratch_folder(".records-", tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="full"), scratch_folder(".records-", tmp_path) as folder:
        (folder / "file").touch()
        raise ValueError("full")
    assert list(tmp_path.iterdir()) == []


def test_a_kill_while_it_is_removed_leaves_what_is_still_known_as_ours(tmp_path, monkeypatch):
    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(marked_folder.shutil, "rmtree", killed)
        with scratch_folder(".records-", tmp_path) as folder:
            (folder / "file").touch()
    assert [path.name for path in folder.iterdir()] == [MARKER]
    with scratch_folder(".records-", tmp_path):
        assert not folder.exists()


def test_what_others_have_made_stays(tmp_path):
    """By its name, by its mark, or behind a link."""
    place, elsewhere = tmp_path / "place", tmp_path / "elsewhere"
    for folder in (place / ".records-abcdefgh", place / ".records-mine", elsewhere):
        folder.mkdir(parents=True)
        (folder / "precious").touch()
    (place / ".records-mine" / MARKER).touch()
    (elsewhere / MARKER).touch()
    (place / ".records-abcdefgi").symlink_to(elsewhere)
    (place / ".records-abcdefgj").mkdir()
    (place / ".records-abcdefgj" / MARKER).symlink_to(elsewhere / MARKER)
    before = sorted(tmp_path.rglob("*"))
    with scratch_folder(".records-", place) as folder:
        (folder / "link").symlink_to(elsewhere)
    assert sorted(tmp_path.rglob("*")) == before
