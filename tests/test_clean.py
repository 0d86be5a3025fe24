"""Old artifacts go, blessed and pushed models stay, and the metadata say so."""

from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as proto

from components.errors import UserError
from pipeline.clean import clean
from pipeline.config import load_config


class MadePipeline:
    """Metadata and folders as runs of two steps leave them: a model, then blessing and push."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        connection = proto.ConnectionConfig()
        connection.sqlite.filename_uri = str(root / "metadata.sqlite")
        connection.sqlite.connection_mode = 3
        self.store = mlmd.MetadataStore(connection)
        self.types = {
            name: self.store.put_artifact_type(proto.ArtifactType(name=name))
            for name in ("Model", "ModelBlessing", "PushedModel")
        }
        self.step = self.store.put_execution_type(proto.ExecutionType(name="step"))
        self.contexts = {
            name: self.store.put_context_type(proto.ContextType(name=name))
            for name in ("pipeline", "pipeline_run")
        }
        self.pipeline = self.context("pipeline", "digits")

    def context(self, kind: str, name: str) -> int:
        return self.store.put_contexts([proto.Context(type_id=self.contexts[kind], name=name)])[0]

    def run(self, name: str, *, blessed: bool, model: int | None = None) -> int:
        """`model` is reused from an earlier run, as a cached step does; returns the model's id."""
        run = self.context("pipeline_run", name)
        step = self.store.put_executions([proto.Execution(type_id=self.step)])[0]
        model = model or self.artifact("Model", name)
        blessing = self.artifact("ModelBlessing", name, blessed=blessed, current_model_id=model)
        pushed = self.artifact("PushedModel", name, pushed=blessed)
        outputs = [model, blessing, pushed]
        event = proto.Event.OUTPUT
        self.store.put_events(
            [proto.Event(artifact_id=id_, execution_id=step, type=event) for id_ in outputs]
        )
        self.store.put_attributions_and_associations(
            [
                proto.Attribution(artifact_id=id_, context_id=context)
                for id_ in outputs
                for context in (self.pipeline, run)
            ],
            [
                proto.Association(execution_id=step, context_id=context)
                for context in (self.pipeline, run)
            ],
        )
        return model

    def artifact(self, kind: str, name: str, **properties: int) -> int:
        folder = self.root / "artifacts" / kind / name
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(bytes(100))
        artifact = proto.Artifact(type_id=self.types[kind], uri=str(folder), state=2)
        for key, value in properties.items():
            artifact.custom_properties[key].int_value = value
        return self.store.put_artifacts([artifact])[0]

    def folders(self) -> set[str]:
        files = (self.root / "artifacts").glob("*/*/file")
        return {f"{path.parent.parent.name} {path.parent.name}" for path in files}

    def states(self) -> dict[str, int]:
        return {
            " ".join(Path(artifact.uri).parts[-2:]): artifact.state
            for artifact in self.store.get_artifacts()
        }


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
        patch.setattr("pipeline.clean.shutil.rmtree", killed)
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
    with pytest.raises(UserError, match=r"holds no metadata.sqlite; give its root"):
        clean(load_config("digits", [f"root={tmp_path / 'none'}"]), keep=1)
    assert not (tmp_path / "none").exists()
