"""Old artifacts go, blessed and pushed models stay, and the metadata say so."""

from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as proto

from helpers.made_pipeline import MadePipeline
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.history.clean import clean


@pytest.fixture
def made(tmp_path) -> MadePipeline:
    made = MadePipeline(tmp_path / "root")
    made.run("1", blessed=True)
    made.run("2", blessed=False)
    third = made.run("3", blessed=False)
    made.run("4", blessed=False)
    made.run("5", blessed=False, model=third)
    return made


def config_of(made: MadePipeline):
    return load_config("digits", [f"root={made.root}"])


ALWAYS = {"Model 1", "ModelBlessing 1", "PushedModel 1"}


def test_what_the_newest_runs_use_stays_and_so_do_blessed_and_pushed_models(made):
    cleaned = clean(config_of(made), keep=1)
    left = ALWAYS | {"Model 3", "ModelBlessing 5", "PushedModel 5"}
    assert made.folders() == left
    assert (cleaned.removed, cleaned.freed, cleaned.kept) == (8, 800, 6)
    deleted = proto.Artifact.DELETED
    assert {name for name, state in made.states().items() if state != deleted} == left


def test_more_runs_keep_more_and_nothing_is_removed_twice(made):
    assert clean(config_of(made), keep=2).removed == 5
    assert "Model 4" in made.folders() and "Model 2" not in made.folders()
    assert clean(config_of(made), keep=2).removed == 0
    assert clean(config_of(made), keep=9).removed == 0


def test_a_cleaning_that_was_killed_is_finished_by_the_next(made, monkeypatch):
    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("inception_finetune.pipeline.history.clean.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            clean(config_of(made), keep=1)
    assert made.states()["Model 2"] == proto.Artifact.DELETED  # before any file is gone
    assert "Model 2" in made.folders()
    clean(config_of(made), keep=1)
    assert "Model 2" not in made.folders()


def test_an_artifact_elsewhere_is_never_removed(made, tmp_path):
    elsewhere = tmp_path / "mine"
    elsewhere.mkdir()
    [artifact] = [one for one in made.store.get_artifacts() if one.uri.endswith("/Model/2")]
    artifact.uri = str(elsewhere)
    made.store.put_artifacts([artifact])
    clean(config_of(made), keep=1)
    assert elsewhere.exists()


def move(made: MadePipeline, name: str, uri: Path) -> None:
    [artifact] = [one for one in made.store.get_artifacts() if one.uri.endswith(name)]
    artifact.uri = str(uri)
    made.store.put_artifacts([artifact])


def test_the_folder_of_all_artifacts_may_be_a_link_to_a_bigger_disk(made, tmp_path):
    (made.root / "artifacts").rename(tmp_path / "disk")
    (made.root / "artifacts").symlink_to(tmp_path / "disk")
    assert clean(config_of(made), keep=1).removed == 8
    assert "Model 2" not in made.folders()


@pytest.mark.parametrize("name", ["2", "link"])
def test_nothing_is_removed_through_a_link(made, tmp_path, name):
    """An old artifact's folder, or the one around it, leads to what is still used or is mine."""
    models = made.root / "artifacts/Model"
    (models / "2/file").unlink()
    (models / "2").rmdir()
    (models / "2").symlink_to(models / "3")
    (made.root / "artifacts/link").symlink_to(models)
    move(
        made,
        "/Model/2",
        made.root / ("artifacts/link/4" if name == "link" else "artifacts/Model/2"),
    )
    cleaned = clean(config_of(made), keep=1)
    assert cleaned.elsewhere == 1
    assert (models / "3/file").exists() and (models / "2").is_symlink()


def test_where_all_lies_elsewhere_it_is_said(made, tmp_path, run_command):
    made.root.rename(tmp_path / "moved")
    status, out, _ = run_command("clean", f"root={tmp_path / 'moved'}")
    assert (status, out) == (
        0,
        "0 artifacts removed, 0.0 MB freed; 0 kept, 14 that lie elsewhere\n",
    )


def test_no_pipeline_there(tmp_path):
    with pytest.raises(UserError, match=r"No metadata.sqlite in .*Give the root"):
        clean(load_config("digits", [f"root={tmp_path / 'none'}"]), keep=1)
    assert not (tmp_path / "none").exists()
