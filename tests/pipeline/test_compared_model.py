"""Which model a candidate is compared with, and that classes are compared by name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tfx.types.standard_artifacts import Model, ModelBlessing

from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.label_names import (
    find_label_names,
    listed,
    places,
    read_label_names,
    why_incomparable,
)
from inception_finetune.kubeflow.baseline import ABSENT, PushedBaseline
from inception_finetune.pipeline.baseline import LatestOtherBlessedModel

OURS = ("cat", "dog")
OTHER_CLASSES = "the last blessed model has other classes: "
UNKNOWN = "the last blessed model does not say which classes it knows"


def write_model(directory: Path, names: tuple[str, ...] | None) -> Path:
    """As much of an export as is read here; None leaves the class names out."""
    extra = directory / features.EXTRA_ASSETS
    extra.mkdir(parents=True)
    (directory / "saved_model.pb").write_text(f"{directory}")
    if names is not None:
        lines = "".join(f"{number}:{name}\n" for number, name in enumerate(names))
        (extra / features.LABELS_FILE).write_text(lines)
    return directory


def artifact(root: Path, id_: int, names: tuple[str, ...] | None) -> Model:
    model = Model()
    model.id, model.uri = id_, str(root / str(id_))
    write_model(root / str(id_) / "Format-Serving", names)
    return model


def blessing(model: Model) -> ModelBlessing:
    made = ModelBlessing()
    made.set_int_custom_property("blessed", 1)
    made.set_int_custom_property("current_model_id", model.id)
    return made


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        (OURS, None),
        (("dog", "cat"), None),
        (("feline", "dog"), f"{OTHER_CLASSES}with feline, without cat"),
        (("ant", "cat", "dog"), f"{OTHER_CLASSES}with ant"),
        (("dog",), f"{OTHER_CLASSES}without cat"),
        (None, UNKNOWN),
    ],
)
def test_models_are_comparable_that_know_the_same_names(tmp_path, others, reason):
    candidate = write_model(tmp_path / "candidate", OURS)
    assert why_incomparable(candidate, write_model(tmp_path / "other", others)) == reason


def test_class_names_are_read_whole_or_not_at_all(tmp_path):
    names = ("a:b", "zwei\u2028Zeilen")
    assert read_label_names(write_model(tmp_path / "odd", names)) == names
    broken = write_model(tmp_path / "broken", OURS)
    (broken / features.EXTRA_ASSETS / features.LABELS_FILE).write_text("0:cat\n2:dog\n")
    assert find_label_names(broken) is None
    with pytest.raises(UserError, match="Class names are missing or incomplete in .*broken"):
        read_label_names(broken)


def test_names_are_put_in_order_and_long_lists_are_cut():
    assert places(("a", "b", "c"), ("c", "a", "b")) == (1, 2, 0)
    assert listed([str(number) for number in range(1005)]) == "0, 1, 2, 3, 4 and 1,000 more"


@pytest.mark.parametrize(
    ("latest", "model", "incomparable"),
    [
        (("dog", "cat"), [2], []),
        (("feline", "dog"), [], [2]),  # not 1 either, which does not serve any more
        (None, [], [2]),
    ],
)
def test_the_latest_other_blessed_model_or_why_there_is_none(tmp_path, latest, model, incomparable):
    models = [artifact(tmp_path, 1, OURS), artifact(tmp_path, 2, latest)]
    candidate = artifact(tmp_path, 3, OURS)
    resolved = LatestOtherBlessedModel().resolve_artifacts(
        None,
        {
            "model": [*models, candidate],
            "model_blessing": [blessing(one) for one in [*models, candidate]],
            "incomparable_model": [*models, candidate],
            "candidate": [candidate],
        },
    )
    assert [one.id for one in resolved["model"]] == model
    assert [one.id for one in resolved["incomparable_model"]] == incomparable
    assert resolved["candidate"] == [candidate]


def test_the_first_run_has_nothing_to_compare_with(tmp_path):
    candidate = artifact(tmp_path, 1, OURS)
    resolved = LatestOtherBlessedModel().resolve_artifacts(
        None,
        {
            "model": [candidate],
            "model_blessing": [],
            "incomparable_model": [candidate],
            "candidate": [candidate],
        },
    )
    assert resolved["model"] == resolved["incomparable_model"] == []


@pytest.mark.parametrize(
    ("pushed_names", "copied"),
    [(("dog", "cat"), "model"), (("feline", "dog"), "incomparable_model"), ("nothing", None)],
)
def test_a_cluster_goes_by_the_same_rule(tmp_path, pushed_names, copied):
    candidate, outputs = artifact(tmp_path, 1, OURS), {}
    for key in ("model", "incomparable_model"):
        outputs[key] = Model()
        outputs[key].uri = str(tmp_path / key)
    if pushed_names != "nothing":
        write_model(tmp_path / "pushed" / "7", pushed_names)
        exports = tmp_path / "pushed/7/assets.extra/exports"
        exports.mkdir()
        (exports / "model.onnx").write_bytes(b"not compared")
    PushedBaseline.EXECUTOR_SPEC.executor_class._FUNCTION(
        candidate=candidate, pushed=str(tmp_path / "pushed"), **outputs
    )
    for key, output in outputs.items():
        assert output.get_int_custom_property(ABSENT) == (key != copied)
        assert Path(output.uri, "Format-Serving/saved_model.pb").is_file() == (key == copied)
        assert not list(Path(output.uri).rglob("*.onnx"))


def write_colours(directory: Path, names: tuple[str, ...]) -> Path:
    """Pictures of one colour a class, with noise: as easy as can be; files named alike."""
    random = np.random.default_rng(2)
    colours = {"cat": (220, 40, 40), "dog": (40, 40, 220)}
    for split, count in (("train", 40), ("test", 10)):
        for name in names:
            folder = directory / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.normal(0, 25, (40, 40, 3)) + np.array(colours[name])
                picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                picture.save(folder / f"{number}.png")
    return directory


@pytest.fixture(scope="module")
def blessed_once(tmp_path_factory):
    """Pictures of cats and dogs, and ``run(data, *overrides)`` in a root with a model of them."""
    from inception_finetune.pipeline import local
    from inception_finetune.pipeline.config import load_config

    place = tmp_path_factory.mktemp("names")
    data = write_colours(place / "data", OURS)

    def run(archive: Path, *overrides: str):
        return local.run(
            load_config(
                "scratch_cnn",
                [
                    *(f"root={place}/root", f"cache={place}/cache", f"dataset.archive={archive}"),
                    *("image.size=32", "training.epochs=1", "training.batch_size=8"),
                    *("gate.min_accuracy=0", "infra.server=none", *overrides),
                ],
            )
        )

    first = run(data)
    assert first.blessed and first.metrics["accuracy"] == 1.0 and first.remarks == ()
    return data, run


UNTAUGHT = ("training.learning_rate=1e-7",)


@pytest.mark.e2e
def test_classes_in_another_order_are_compared_by_name(blessed_once, tmp_path):
    """As records, whose ids are their labels.txt's: a model that learnt nothing is refused."""
    import tensorflow as tf

    data, run = blessed_once
    records = shutil.copytree(data.parent / "root" / "records", tmp_path / "records")
    (records / "manifest.json").unlink()
    (records / features.LABELS_FILE).write_text("0:dog\n1:cat\n")
    for shard in records.glob("*.tfrecord"):
        examples = []
        for serialized in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator():
            example = tf.train.Example.FromString(serialized)
            label = example.features.feature[features.LABEL].int64_list
            label.value[0] = 1 - label.value[0]
            examples.append(example.SerializeToString())
        with tf.io.TFRecordWriter(str(shard)) as writer:
            for serialized in examples:
                writer.write(serialized)
    refused = run(records, *UNTAUGHT)
    assert not refused.blessed and refused.pushed is None
    assert refused.metrics["accuracy"] == 0.5
    [refusal] = refused.refusals
    assert "it changed by -0.5000, p = 0.00098 below 0.05" in refusal  # 0.5 ** 10
    assert refused.remarks == ()  # far from chance
    reports = data.parent / "root/artifacts/ModelReport/model_report"
    newest = max(reports.iterdir(), key=lambda path: int(path.name))
    facts = json.loads((newest / "facts.json").read_text())
    assert facts["baseline"]["accuracy"]["correct"] == 20
    assert facts["test_use"] == 2  # the pictures are the same


@pytest.mark.e2e
def test_a_renamed_class_is_not_compared_and_that_is_said(blessed_once, tmp_path):
    data, run = blessed_once
    renamed = shutil.copytree(data, tmp_path / "renamed")
    for split in ("train", "test"):
        (renamed / split / "cat").rename(renamed / split / "feline")
    outcome = run(renamed, "gate.min_accuracy=0.9", *UNTAUGHT)
    said = f"not compared: {OTHER_CLASSES}with cat, without feline"
    assert outcome.remarks == (said,)
    [refusal] = outcome.refusals  # by the bound that needs no other model
    assert refusal.startswith("overall accuracy must be at least 0.9")
    reports = data.parent / "root/artifacts/ModelReport/model_report"
    newest = max(reports.iterdir(), key=lambda path: int(path.name))
    facts = json.loads((newest / "facts.json").read_text())
    assert facts["baseline"] is None
    for file in ("report.html", "model_card.md"):
        text = (newest / file).read_text()
        assert f"Not compared: {OTHER_CLASSES}with cat, without feline." in text
        assert "No model was blessed before" not in text
    again = run(renamed, "gate.min_accuracy=0.9", *UNTAUGHT)
    assert {step.name for step in again.steps if not step.cached} == {"baseline"}
    assert again.remarks == (said,)
