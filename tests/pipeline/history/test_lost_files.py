"""What a run's results have lost since is made again, and never mixed with others."""

from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as proto

from helpers.made_pipeline import MadePipeline
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.history.lost_files import (
    invalidate_artifacts_with_missing_files,
    record_artifact_files,
)


@pytest.fixture
def made(tmp_path) -> MadePipeline:
    """Two runs, whose results were written down after each."""
    made = MadePipeline(tmp_path / "root")
    for name in ("1", "2"):
        made.run(name, blessed=True)
        record_artifact_files(config_of(made))
    return made


def config_of(made: MadePipeline):
    return load_config("digits", [f"root={made.root}"])


def deleted(made: MadePipeline) -> set[str]:
    return {name for name, state in made.states().items() if state == proto.Artifact.DELETED}


def test_nothing_is_forgotten_where_nothing_is_lost(made):
    (made.root / "artifacts/Model/1/more").write_bytes(b"another file harms nothing")
    assert invalidate_artifacts_with_missing_files(config_of(made)) == []
    assert deleted(made) == set()


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_bytes(b"cut")])
def test_a_result_that_has_lost_a_file_is_named_and_forgotten_once(made, lose):
    path = made.root / "artifacts/Model/1/file"
    lose(path)
    assert invalidate_artifacts_with_missing_files(config_of(made)) == [str(path)]
    assert deleted(made) == {"Model 1"}
    assert invalidate_artifacts_with_missing_files(config_of(made)) == []


def test_to_write_files_down_again_changes_nothing(made):
    """As where a run fails before TFX has begun it."""
    path = made.root / "artifacts/Model/2/file"
    path.unlink()
    record_artifact_files(config_of(made))
    assert invalidate_artifacts_with_missing_files(config_of(made)) == [str(path)]


def test_a_pushed_model_is_held_to_what_serves(made):
    served = made.root / "serving/digits/1/saved_model.pb"
    served.parent.mkdir(parents=True)
    served.write_bytes(b"graph")
    made.run("3", blessed=True)
    [pushed] = [one for one in made.store.get_artifacts() if one.uri.endswith("PushedModel/3")]
    pushed.custom_properties["pushed_destination"].string_value = str(served.parent)
    made.store.put_artifacts([pushed])
    record_artifact_files(config_of(made))
    assert invalidate_artifacts_with_missing_files(config_of(made)) == []
    served.unlink()
    assert invalidate_artifacts_with_missing_files(config_of(made)) == [str(served)]
    assert deleted(made) == {"PushedModel 3"}


@pytest.mark.parametrize("metadata", ["of an older run", "gone"])
def test_results_that_the_metadata_do_not_know_are_refused(made, metadata):
    (made.root / "artifacts/Trainer/model/1").mkdir(parents=True)
    assert invalidate_artifacts_with_missing_files(config_of(made)) == []
    if metadata == "gone":
        (made.root / "metadata.sqlite").unlink()
    else:
        (made.root / "artifacts/Trainer/model/99").mkdir()
    problem = r"are unknown to metadata.sqlite.*Put the right one back, or move .*artifacts away"
    with pytest.raises(UserError, match=problem):
        invalidate_artifacts_with_missing_files(config_of(made))


def test_a_root_without_any_run_has_lost_nothing(tmp_path):
    assert (
        invalidate_artifacts_with_missing_files(
            load_config("digits", [f"root={tmp_path / 'none'}"])
        )
        == []
    )
    assert not (tmp_path / "none").exists()
