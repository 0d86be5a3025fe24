"""Metadata and folders of a pipeline that never ran."""

from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto


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
        self.store.put_parent_contexts([proto.ParentContext(child_id=run, parent_id=self.pipeline)])
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
