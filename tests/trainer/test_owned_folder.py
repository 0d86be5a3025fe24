"""What a training removes in its root: its own older state, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import REPOSITORY
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.marked_folder import MARKER
from inception_finetune.trainer.owned_folder import owned_folder


def make(parent: Path, *identity: str) -> Path:
    with owned_folder(str(parent), identity) as folder:
        Path(folder, "state").write_text("weights")
        return Path(folder)


def test_a_training_is_found_again_by_what_it_was_given_and_others_go(tmp_path):
    one = make(tmp_path, "settings", "data")
    assert make(tmp_path, "settings", "data") == one and (one / "state").exists()
    other = make(tmp_path, "settings", "other data")
    assert other != one and list(tmp_path.iterdir()) == [other]


def test_what_others_have_made_stays(tmp_path):
    checkpoints, elsewhere = tmp_path / "r/checkpoints", tmp_path / "elsewhere"
    ours = make(checkpoints, "first")
    linked = make(elsewhere, "of another root")
    (checkpoints / "my-best-model").mkdir()
    (checkpoints / "my-best-model/weights.h5").write_text("w")
    (checkpoints / "notes.txt").write_text("n")
    unmarked, copied = checkpoints / "0123456789abcdef", checkpoints / "copy of ours"
    unmarked.mkdir()
    copied.mkdir()
    (copied / MARKER).touch()
    (checkpoints / "backup").symlink_to(elsewhere)
    (checkpoints / linked.name).symlink_to(linked)
    (ours / "link").symlink_to(elsewhere)
    before = {path for path in tmp_path.rglob("*") if ours not in (path, *path.parents)}
    new = make(checkpoints, "second")
    after = {path for path in tmp_path.rglob("*") if new not in (path, *path.parents)}
    assert after == before and not ours.exists()
    assert (linked / "state").read_text() == "weights"


def test_nothing_is_removed_where_the_folder_itself_is_a_link(tmp_path):
    theirs = make(tmp_path / "elsewhere", "theirs")
    (tmp_path / "checkpoints").symlink_to(tmp_path / "elsewhere")
    make(tmp_path / "checkpoints", "ours")
    assert (theirs / "state").exists()


@pytest.mark.parametrize("what", ["file", "folder", "link", "parent"])
def test_what_stands_in_the_way_is_one_line(tmp_path, what):
    folder = make(tmp_path / "checkpoints", "ours")
    (folder / "state").unlink()
    (folder / MARKER).unlink()
    folder.rmdir()
    if what == "file":
        folder.write_text("mine")
    elif what == "folder":
        folder.mkdir()
        (folder / "mine").write_text("mine")
    elif what == "link":
        (tmp_path / "mine").mkdir()
        folder.symlink_to(tmp_path / "mine")
    else:
        folder.parent.rmdir()
        folder.parent.write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"checkpoints.* Move it away\.$"):
        make(tmp_path / "checkpoints", "ours")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_another_process_uses_stays_until_it_has_died(tmp_path):
    script = """
import sys
from inception_finetune.trainer.owned_folder import owned_folder
with owned_folder(sys.argv[1], ["live"]) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    live = Path(process.stdout.readline().strip())
    make(tmp_path, "ours")
    assert live.exists()
    with pytest.raises(UserError, match="in use by another process that trains the same"):
        make(tmp_path, "live")
    process.kill()
    process.wait()
    make(tmp_path, "ours")
    assert not live.exists()
