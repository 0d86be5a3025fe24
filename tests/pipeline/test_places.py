"""Roots and caches that no run could use are one line, and nothing is read or made there."""

import os
from pathlib import Path

import pytest

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline import local
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.places import require_folders, require_no_pattern

BAD = {
    "file": "file is not a folder",
    "file/below": "file is not a folder",
    "loop": "loop is a link that leads to no folder",
    "loop/below": "loop is a link that leads to no folder",
    "nowhere": "nowhere is a link that leads to no folder",
    "x" * 300: "longer than 255 bytes",
    "ü" * 128 + "/below": "longer than 255 bytes",
    os.fsdecode(b"\xff"): "it is not UTF-8",
    "a\0b": "it holds NUL",
}


@pytest.fixture
def place(tmp_path) -> Path:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "link").symlink_to(tmp_path)
    return tmp_path


@pytest.mark.parametrize("key", ["root", "cache"])
@pytest.mark.parametrize("bad", BAD, ids=ascii)
def test_what_can_be_no_folder(place, bad, key):
    before = sorted(place.rglob("*"))
    config = load_config("digits").model_copy(update={key: f"{place}/{bad}"})
    with pytest.raises(UserError, match=f"^{key}=.*{BAD[bad]}. Give another.$") as refusal:
        require_folders(config)
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 600
    with pytest.raises(UserError):
        local.run(config)
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("good", ["new/deep", "link", "link/new", "x" * 250, "a b", "日本", "$(x)"])
def test_what_is_a_folder_or_can_be_made(place, good):
    require_folders(load_config("digits", [f"root={place / good}", f"cache={place / good}"]))
    require_no_pattern(place / good)


@pytest.mark.parametrize("name", ["a*b", "a?b", "exp[1]", "a\\b"])
@pytest.mark.parametrize("here", [True, False])
def test_a_root_that_is_a_pattern_runs_nowhere(tmp_path, monkeypatch, name, here):
    """TFX would read what lies in another root that the pattern fits."""
    (tmp_path / name).mkdir()
    if here:
        monkeypatch.chdir(tmp_path / name)
    root = "build/x" if here else tmp_path / name
    with pytest.raises(UserError, match=r"^root=.* for a pattern. Give a root=DIRECTORY"):
        local.run(load_config("digits", [f"root={root}"]))
    assert list((tmp_path / name).iterdir()) == []
