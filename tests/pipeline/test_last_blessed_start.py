"""Which model a training starts from: in the metadata, on a cluster, and in whole runs."""

import json
import shutil
from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as proto
from tfx.types.standard_artifacts import InfraBlessing, Model, ModelBlessing, TransformGraph

from helpers.colour_pictures import write_colours
from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.pusher.serving_folder import WITHDRAWN
from inception_finetune.components.warm_start.start import START_FILE, Start
from inception_finetune.kubeflow.baseline import ABSENT, PushedStart
from inception_finetune.pipeline.history.runs import open_store
from inception_finetune.pipeline.warm_start import LastBlessedStart, require_fitting_start

NETWORK = {
    "network": "toy",
    "backbone_fingerprint": "1234",
    "cut_before": "stem",
    "image_size": 16,
}
SETTINGS = {**NETWORK, "training": {"epochs": 2}}


class Trainings:
    """Metadata of a Trainer's executions, and what a resolver is given of them."""

    def __init__(self, place: Path) -> None:
        self.place, self.models, self.blessings = place, [], []
        connection = proto.ConnectionConfig()
        connection.fake_database.SetInParent()
        self.store = mlmd.MetadataStore(connection)
        self.model, self.graph = (
            self.store.put_artifact_type(proto.ArtifactType(name=name))
            for name in ("Model", "TransformGraph")
        )
        self.trainer = self.store.put_execution_type(proto.ExecutionType(name="Trainer"))

    def examples(self) -> TransformGraph:
        """Those of another day, by the Transform graph that comes of them."""
        graph = TransformGraph()
        [graph.id] = self.store.put_artifacts([proto.Artifact(type_id=self.graph)])
        return graph

    def train(self, graph, settings=SETTINGS, base=None, generation=0, blessed=True) -> Model:
        model = Model()
        [model.id] = self.store.put_artifacts([proto.Artifact(type_id=self.model)])
        model.uri = str(self.place / str(model.id))
        extra = Path(model.uri, "Format-Serving", features.EXTRA_ASSETS)
        extra.mkdir(parents=True)
        (extra / "settings.json").write_text(json.dumps(settings))
        if generation:
            start = Start(model="", generation=generation, kept=2, added=(), dropped=())
            (extra / START_FILE).write_text(start.model_dump_json())
        execution = proto.Execution(type_id=self.trainer)
        execution.custom_properties["custom_config"].string_value = json.dumps(settings)
        [execution_id] = self.store.put_executions([execution])

        def event(artifact, kind, key):
            made = proto.Event(artifact_id=artifact.id, execution_id=execution_id, type=kind)
            made.path.steps.add(key=key)
            return made

        inputs = {"transform_graph": graph, **({"base_model": base} if base else {})}
        self.store.put_events(
            [event(one, proto.Event.INPUT, key) for key, one in inputs.items()]
            + [event(model, proto.Event.OUTPUT, "model")]
        )
        self.models.append(model)
        blessing = ModelBlessing()
        blessing.set_int_custom_property("blessed", int(blessed))
        blessing.set_int_custom_property("current_model_id", model.id)
        self.blessings.append(blessing)
        return model

    def start(self, graph, settings=SETTINGS, cold_every=0) -> list[Model]:
        resolved = LastBlessedStart(json.dumps(settings), cold_every).resolve_artifacts(
            self.store,
            {
                "model": list(self.models),
                "model_blessing": list(self.blessings),
                "transform_graph": [graph],
            },
        )
        assert resolved["transform_graph"] == [graph]
        return resolved["model"]


@pytest.fixture
def trainings(tmp_path) -> Trainings:
    return Trainings(tmp_path)


def test_the_first_training_starts_from_the_backbone_and_that_is_said(trainings, capsys):
    assert trainings.start(trainings.examples()) == []
    trainings.train(trainings.examples(), blessed=False)
    assert trainings.start(trainings.examples()) == []
    said = capsys.readouterr().err.splitlines()
    assert said == ["no model of this root is blessed: a training starts from the backbone"] * 2


def test_other_examples_are_trained_from_the_last_blessed_model_that_was_not_withdrawn(trainings):
    first, second = (trainings.train(trainings.examples()) for _ in range(2))
    trainings.train(trainings.examples(), blessed=False)
    assert trainings.start(trainings.examples()) == [second]
    second.set_int_custom_property(WITHDRAWN, 1)
    assert trainings.start(trainings.examples()) == [first]


def test_the_same_training_starts_where_it_started(trainings):
    monday, tuesday = trainings.examples(), trainings.examples()
    cold = trainings.train(monday)
    assert trainings.start(monday) == []
    warm = trainings.train(tuesday, base=cold, generation=1)
    assert trainings.start(tuesday) == [cold]
    assert trainings.start(tuesday, {**SETTINGS, "training": {"epochs": 3}}) == [warm]
    assert trainings.start(monday) == [warm]  # what serves has gone on since


def test_each_nth_training_starts_cold(trainings, capsys):
    graph, generations = trainings.examples(), []
    base = trainings.train(graph)
    for _ in range(7):
        graph = trainings.examples()
        start = trainings.start(graph, cold_every=3)
        assert start in ([], [base])
        generations.append(generations[-1] + 1 if start and generations else len(start))
        base = trainings.train(graph, base=base if start else None, generation=generations[-1])
        assert trainings.start(graph, cold_every=3) == start  # the same training again
    assert generations == [1, 2, 0, 1, 2, 0, 1]
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("warm starts in a row so far: 2; with training.cold_every=3 this")
    assert len(said) == 2


@pytest.mark.parametrize(("cold_every", "generation", "is_warm"), [(0, 5, True), (3, 2, False)])
def test_on_a_cluster_the_newest_pushed_version_is_the_start(
    trainings, tmp_path, cold_every, generation, is_warm
):
    def start() -> Model:
        output = Model()
        output.uri = str(tmp_path / "out")
        PushedStart.EXECUTOR_SPEC.executor_class._FUNCTION(
            model=output,
            pushed=str(tmp_path / "pushed"),
            settings=json.dumps(NETWORK),
            cold_every=cold_every,
        )
        return output

    assert start().get_int_custom_property(ABSENT) == 1
    for version, made in ((7, 0), (8, generation)):
        model = trainings.train(trainings.examples(), generation=made)
        folder = Path(model.uri, "Format-Serving")
        (folder / "saved_model.pb").write_text(str(version))
        shutil.copytree(folder, tmp_path / "pushed" / str(version))
    output = start()
    assert output.get_int_custom_property(ABSENT) == (not is_warm)
    copied = Path(output.uri, "Format-Serving/saved_model.pb")
    assert copied.is_file() == is_warm and (not is_warm or copied.read_text() == "8")


def write_classes(directory: Path, *names: str) -> Path:
    for seed, (split, count) in enumerate((("train", 40), ("test", 10))):
        write_colours(directory / split, seed, count, *names)
    return directory


@pytest.mark.e2e
def test_days_in_a_row(tmp_path, monkeypatch, capfd):
    """Cold, warm with other classes and killed once, again, and cold again."""
    from inception_finetune.pipeline import local
    from inception_finetune.pipeline.config import load_config
    from inception_finetune.trainer import observers

    data = write_classes(tmp_path / "data", "cat", "dog")

    def config(*overrides: str):
        return load_config(
            "scratch_cnn",
            [
                *(f"root={tmp_path}/root", f"cache={tmp_path}/cache", "infra.server=none"),
                *(f"dataset.archive={data}", "image.size=32", "compute_dtype=float32"),
                *("training.epochs=3", "training.batch_size=8", "training.checkpoint_every=4"),
                *("training.start_from=blessed", "training.cold_every=2", "gate.min_accuracy=0"),
                *("training.ema_momentum=0.5", *overrides),
            ],
        )

    def run(*overrides: str):
        capfd.readouterr()
        outcome = local.run(config(*overrides))
        return outcome, capfd.readouterr().err

    def ran(outcome) -> set[str]:
        return {step.name for step in outcome.steps if not step.cached}

    def extra(outcome) -> Path:
        return outcome.pushed / features.EXTRA_ASSETS

    first, said = run()
    assert "no model of this root is blessed: a training starts from the backbone" in said
    assert first.blessed and not (extra(first) / START_FILE).exists()

    write_classes(data, "ant", "owl")
    for split in ("train", "test"):
        shutil.rmtree(data / split / "dog")

    class Killed(BaseException):
        pass

    def die(self, facts) -> None:
        if facts.step == 8:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(observers.ProgressLines, "on_step", die)
        run()
    assert "warm start 1 in a row" in capfd.readouterr().err
    warm, said = run()
    sentence = "classes 1 kept, 2 new (ant, owl), 1 dropped (dog)"
    assert "goes on after step 4" in said and sentence in said
    start = Start.model_validate_json((extra(warm) / START_FILE).read_text())
    assert (start.generation, start.kept, start.added) == (1, 1, ("ant", "owl"))
    reports = sorted(
        (tmp_path / "root/artifacts/ModelReport/model_report").iterdir(),
        key=lambda path: int(path.name),
    )
    for file in ("report.html", "model_card.md"):
        assert sentence.replace("(", "").replace(")", "") in (
            (reports[-1] / file).read_text().replace("\\", "").replace("(", "").replace(")", "")
        ), file
        assert "arm start" not in (reports[0] / file).read_text()
    again, said = run()
    assert ran(again) == {"warm_start", "baseline"} and "warm start" not in said

    write_classes(data, "dog")
    cold, said = run()
    assert "warm starts in a row so far: 1; with training.cold_every=2" in said
    assert not (extra(cold) / START_FILE).exists()
    with pytest.raises(UserError, match="No warm start from .*: its backbone_") as refused:
        run("image.size=40", "training.cold_every=null")  # the stand-in is made for a size
    assert "\n" not in str(refused.value)
    trained = (tmp_path / "root/artifacts/Trainer/model").iterdir()
    *_, older, newest = sorted(trained, key=lambda path: int(path.name))
    shutil.rmtree(newest)  # one that has lost its files is passed over
    with pytest.raises(UserError, match=f"No warm start from {older}/"):
        run("image.size=40", "training.cold_every=null")

    # Models that a server check has refused never served, so nothing starts from them.
    store = open_store(config())
    kind = store.put_artifact_type(proto.ArtifactType(name=InfraBlessing.TYPE_NAME))
    for model in store.get_artifacts_by_type(Model.TYPE_NAME):
        refusal = proto.Artifact(type_id=kind)
        refusal.custom_properties["blessed"].int_value = 0
        refusal.custom_properties["current_model_id"].int_value = model.id
        store.put_artifacts([refusal])
    require_fitting_start(config("image.size=40", "training.cold_every=null"), inputs=None)
