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


def test_no_pipeline_there(tmp_path):
    with pytest.raises(UserError, match=r"No metadata.sqlite in .*Give the root"):
        clean(load_config("digits", [f"root={tmp_path / 'none'}"]), keep=1)
    assert not (tmp_path / "none").exists()
