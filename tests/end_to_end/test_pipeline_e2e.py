"""The whole DAG, run once at the smallest size and shared by every test here."""

import contextlib
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from helpers.paths import REPOSITORY
from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.steps import Step
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.outcome import read_outcome

pytestmark = pytest.mark.e2e

STEPS = [
    "ImportExampleGen",
    "ImportSchemaGen",
    "StatisticsGen",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "TrunkFeatures",
    "Trainer",
    "baseline",
    "TestPredictions",
    "Evaluator",
    "ModelReport",
    "Pusher",
]


def run(config: Config):
    from inception_finetune.pipeline import local

    return local.run(config)


def test_the_steps_have_the_names_that_the_rest_of_the_code_knows_them_by():
    assert {*STEPS, "warm_start", "Tuner", "Export", "InfraValidator"} == set(Step)


def ran(outcome) -> list[str]:
    """The steps that were not cached; the resolver looks again each time."""
    return [step.name for step in outcome.steps if not step.cached and step.name != "baseline"]


@pytest.fixture(scope="module")
def config(smallest_config) -> Config:
    return smallest_config


@pytest.fixture(scope="module")
def first(first_run):
    return first_run


def changed(config: Config, **sections) -> Config:
    """`config` with some keys of its sections replaced."""
    values = config.model_dump()
    for section, keys in sections.items():
        values[section].update(keys)
    return Config.model_validate(values)


def stored_predictions(config: Config):
    """Of each run that did not find them stored, in the order of the runs."""
    from inception_finetune.components.test_predictions.store import read_predictions

    artifacts = (Path(config.root) / "artifacts/TestPredictions/predictions").iterdir()
    return [read_predictions(str(path)) for path in sorted(artifacts, key=lambda p: int(p.name))]


def untrainable(config: Config, **sections) -> Config:
    """What is behind the trunk is of no interest: the Trainer refuses such a batch."""
    return changed(config, training={"batch_size": 2000}, **sections)


def new_trunk_stores(config: Config, run_untrainable: Callable[[], object]) -> int:
    """How many times the trunk ran."""
    stores = Path(config.root) / "artifacts/TrunkFeatures/trunk_features"
    before = set(stores.iterdir())
    with pytest.raises(UserError, match="does not fill one batch"):
        run_untrainable()
    return len(set(stores.iterdir()) - before)


def test_every_step_runs_and_the_model_is_blessed_and_pushed(first):
    assert [step.name for step in first.steps] == STEPS
    assert ran(first) == [step for step in STEPS if step != "baseline"]
    assert first.blessed and not first.refusals
    assert (first.pushed / "saved_model.pb").is_file()


def test_the_splits_hold_every_example_once(config, first):
    import tensorflow as tf

    from inception_finetune.components.io.record_index import COMPRESSION

    counts, ids = {}, []
    for split in features.SPLITS:
        [directory] = (Path(config.root) / "artifacts/ImportExampleGen/examples").glob("*")
        pattern = f"{directory}/Split-{split}/*"
        before = len(ids)
        for record in tf.data.TFRecordDataset(tf.io.gfile.glob(pattern), COMPRESSION):
            example = tf.train.Example.FromString(record.numpy())
            ids += example.features.feature[features.IMAGE_ID].bytes_list.value
        counts[split] = len(ids) - before
    assert counts == {"train": 1295, "validation": 142, "test": 360}
    assert len(set(ids)) == 1797


def test_transformed_images_are_never_written(config, first):
    artifacts = Path(config.root) / "artifacts"
    assert not list(artifacts.glob("Transform/transformed_examples/*"))
    total = sum(path.stat().st_size for path in artifacts.rglob("*.gz"))
    assert total < 1797 * 3000  # as records of about 1 KB; images of 75 pixels would take 67 KB


def test_the_gate_measured_what_the_pushed_model_answers(config, first):
    import tensorflow as tf

    from inception_finetune.components.io.record_index import COMPRESSION

    model = tf.saved_model.load(str(first.pushed))
    [directory] = (Path(config.root) / "artifacts/ImportExampleGen/examples").glob("*")
    records = tf.data.TFRecordDataset(tf.io.gfile.glob(f"{directory}/Split-test/*"), COMPRESSION)
    serialized = list(records.as_numpy_iterator())
    answer = model.signatures["serving_default"](examples=tf.constant(serialized))
    labels = np.array(
        [
            tf.train.Example.FromString(record).features.feature[features.LABEL].int64_list.value[0]
            for record in serialized
        ]
    )
    probabilities = answer[features.PROBABILITIES].numpy()
    stored = stored_predictions(config)[0]
    np.testing.assert_array_equal(np.sort(stored.labels), np.sort(labels))
    np.testing.assert_allclose(
        np.sort(stored.candidate, axis=0), np.sort(probabilities, axis=0), atol=1e-5
    )
    assert stored.baseline is None
    assert first.metrics["accuracy"] == pytest.approx(np.mean(probabilities.argmax(1) == labels))
    top_2 = np.argsort(-probabilities, axis=1)[:, :2]
    assert first.metrics["top_2_accuracy"] == pytest.approx(
        (top_2 == labels[:, None]).any(1).mean()
    )
    cross_entropy = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    assert first.metrics["cross_entropy"] == pytest.approx(cross_entropy, rel=1e-4)


def test_a_prediction_does_not_depend_on_its_batch(config, first, tmp_path):
    import tensorflow as tf

    paths = digit_pictures(tmp_path, 5)
    model = tf.saved_model.load(str(first.pushed)).signatures["predict_images"]
    encoded = [path.read_bytes() for path in paths]
    together = model(images=tf.constant(encoded))[features.PROBABILITIES]
    alone = model(images=tf.constant(encoded[:1]))[features.PROBABILITIES]
    np.testing.assert_allclose(together[0], alone[0], atol=1e-5)


def test_predict_gives_label_and_probabilities_by_name(config, first, tmp_path):
    from helpers.predicting import predictions

    found = predictions(first.pushed, digit_pictures(tmp_path, 3))
    assert [prediction.right for prediction in found] == [None] * 3
    for prediction in found:
        assert list(prediction.probabilities)[:3] == ["zero", "one", "two"]
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        best = max(prediction.probabilities, key=prediction.probabilities.__getitem__)
        assert prediction.label_name == best
        assert list(prediction.probabilities)[prediction.label_id] == best


def test_predict_names_the_broken_picture(first, tmp_path):
    from helpers.predicting import predictions

    good, bad = digit_pictures(tmp_path, 2)
    bad.write_bytes(bad.read_bytes()[:90])
    fine, refused = predictions(first.pushed, [good, bad])
    assert fine.error == "" and "whole PNG or JPEG" in refused.error


def test_the_report_lists_every_variable_as_frozen_or_trained(first):
    lines = (first.pushed / "assets.extra/variables.txt").read_text().splitlines()
    rows = [line for line in lines if not line.startswith("#")]
    assert len(rows) == 376 + 2
    assert "InceptionV3/Conv2d_1a_3x3/weights 3, 3, 3, 32 frozen" in rows
    assert sum(row.endswith(" frozen") for row in rows) == 376
    assert [row.split()[0].split("/")[0] for row in rows if row.endswith(" trained")]


def test_what_made_the_model_is_kept_with_it(config, first):
    extra = first.pushed / "assets.extra"
    settings = json.loads((extra / "settings.json").read_text())
    assert settings["training"] == config.training.identity.model_dump(mode="json")
    made = json.loads((extra / "provenance.json").read_text())
    assert made["packages"]["tensorflow"].startswith("2.") and made["python"].startswith("3.11")
    assert made["git_revision"] is None or len(made["git_revision"].split("-")[0]) == 40


def test_training_can_be_looked_at(config, first):
    """The logs lie in the artifact: the learning curve, and pictures of the validation images."""
    import tensorflow as tf

    from inception_finetune.pipeline.history.tensorboard import log_directories

    [(name, directory)] = log_directories(config).items()
    assert re.fullmatch(r"run \d+", name)
    rows = (directory / "history.csv").read_text().splitlines()
    assert rows[0].startswith("epoch,step,loss,accuracy") and len(rows) == 3
    assert rows[-1].startswith("2,60,")
    [events] = (directory / "validation").glob("events*")
    images = {
        value.tag: value.tensor.string_val
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "images"
    }
    width, height, picture, *others = images["predictions"]
    assert (int(width), int(height), others) == (640, 800, [])
    # Digits are white on black with green and red titles: decoded images, in the stored order.
    pixels = tf.io.decode_png(picture).numpy()
    assert (pixels.std(axis=-1) > 30).any() and (pixels == 0).all(axis=-1).mean() > 0.2
    assert (directory / "validation/projector_config.pbtxt").is_file()


def test_tensorboard_opens_on_the_training(config, first):
    from urllib.request import urlopen

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "inception_finetune",
        "tensorboard",
        f"root={config.root}",
    ]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )

    def ask(route: str):
        with urlopen(f"http://127.0.0.1:{port}/data/plugin/{route}", timeout=5) as answer:
            return json.loads(answer.read())

    found: dict[str, list[str]] = {}
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and not all(found.get(key) for key in ("tags", "runs")):
            time.sleep(1)
            with contextlib.suppress(OSError):
                found = {"tags": ask("scalars/tags"), "runs": ask("projector/runs")}
    finally:
        process.terminate()
        process.wait(20)
    [run] = found["runs"]
    assert re.fullmatch(r"run \d+/validation", run)
    assert "epoch_accuracy" in found["tags"][run]
    assert "learning_rate" in found["tags"][run.replace("validation", "train")]


def test_nothing_changed_nothing_runs(config, first):
    again = run(config)
    assert ran(again) == []
    assert (again.blessed, again.metrics, again.pushed) == (True, first.metrics, first.pushed)


def test_another_gate_evaluates_and_does_not_train(config, first):
    strict = run(changed(config, gate={"min_accuracy": 0.999}))
    assert ran(strict) == ["Evaluator", "ModelReport", "Pusher"]
    assert not strict.blessed and strict.pushed is None
    [refusal] = strict.refusals
    short = 0.999 - first.metrics["accuracy"]
    assert refusal.startswith("overall accuracy must be at least 0.999")
    assert refusal.endswith(f"{short:.4f} short")


def test_a_worse_model_than_the_blessed_one_is_refused_and_not_pushed(config, first):
    versions = set(first.pushed.parent.iterdir())
    worse = run(
        changed(config, training={"steps": 1, "learning_rate": 1e-9}, gate={"min_accuracy": 0.0})
    )
    assert ran(worse) == ["Trainer", "TestPredictions", "Evaluator", "ModelReport", "Pusher"]
    assert not worse.blessed
    assert "must not fall more than 0.05 below the last blessed model" in worse.refusals[0]
    assert set(first.pushed.parent.iterdir()) == versions
    both = stored_predictions(config)[-1]
    assert both.baseline is not None
    accuracy = (both.baseline.argmax(axis=1) == both.labels).mean()
    assert accuracy == pytest.approx(first.metrics["accuracy"])


def test_what_no_server_can_serve_is_not_pushed_and_is_checked_again(config, first, run_command):
    """By its memory; then, as after any refusal, nobody has to change the model."""
    from inception_finetune.components.infra_validator.settings import RESULT, ServerCheck

    versions = set(first.pushed.parent.iterdir())
    settings = config.model_dump(mode="json")
    settings["infra"] |= {"server": "serve", "max_memory": 0.3}
    file = Path(config.root) / "infra.yaml"
    file.write_text(yaml.safe_dump(settings), "utf-8")
    for again in (False, True):
        status, out, err = run_command("run", "--config", file)
        assert status == 3 and set(first.pushed.parent.iterdir()) == versions
        last = err.splitlines()[-1]
        # It grows fast between two looks.
        assert last.startswith("not pushed, refused by the server check: the server used 0.")
        assert "more than infra.max_memory=0.3" in last
        refused = read_outcome(Config.model_validate(settings))
        expected = ["InfraValidator", "ModelReport", "Pusher"]
        # The second time none of its inputs has changed.
        assert ran(refused) == expected, again
        assert refused.blessed and refused.pushed is None
    [report] = sorted(_newest(config, "ModelReport/model_report").glob("report.html"))
    assert "Refused, not pushed: the server used" in report.read_text("utf-8")

    settings["infra"]["max_memory"] = None
    passed = run(Config.model_validate(settings))
    assert passed.pushed.parent == first.pushed.parent and passed.pushed not in versions
    result = _newest(config, "InfraValidator/blessing") / RESULT
    found = ServerCheck.model_validate_json(result.read_text("utf-8"))
    assert found.blessed and found.pictures == 8 and found.largest_difference < 1e-4
    assert "requests of one picture" in (
        _newest(config, "ModelReport/model_report") / "report.html"
    ).read_text("utf-8")


def test_a_server_that_is_not_installed_is_found_before_anything_is_trained(config, first):
    steps = read_outcome(config).steps
    server = ["no_such_server", "{model_base_path}", "{rest_port}"]
    with pytest.raises(UserError, match="No program 'no_such_server' of infra.server"):
        run(changed(config, training={"seed": 7}, infra={"server": server}))
    assert read_outcome(config).steps == steps


def _newest(config: Config, output: str) -> Path:
    folders = (Path(config.root) / "artifacts" / output).iterdir()
    return max(folders, key=lambda path: int(path.name))


def test_how_a_training_is_carried_out_trains_nothing_again(config, first, tmp_path):
    """Nor does it run the trunk: where the cache and the backbone lie is no part of a result."""
    cache = shutil.copytree(config.cache, tmp_path / "moved cache")
    backbone = shutil.copytree(config.backbone.handle, tmp_path / "moved backbone")
    again = run(
        changed(
            config.model_copy(update={"cache": str(cache)}),
            training={"checkpoint_every": 7},
            backbone={"handle": str(backbone)},
        )
    )
    assert "Trainer" not in ran(again) and "TrunkFeatures" not in ran(again)


def test_a_half_trained_state_goes_on_in_a_root_that_was_moved(
    config, first, tmp_path, monkeypatch, capfd
):
    from inception_finetune.trainer import observers

    class Killed(BaseException):
        pass

    def die(self, facts) -> None:
        if facts.step == 20:
            raise Killed

    half = changed(
        config.model_copy(update={"root": str(tmp_path / "root")}), training={"checkpoint_every": 8}
    )
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(observers.ProgressLines, "on_step", die)
        run(half)
    moved = (tmp_path / "root").rename(tmp_path / "moved")
    capfd.readouterr()
    outcome = run(
        changed(half.model_copy(update={"root": str(moved)}), training={"checkpoint_every": 30})
    )
    assert "goes on after step 16" in capfd.readouterr().err
    assert outcome.metrics["accuracy"] == first.metrics["accuracy"]


@pytest.mark.parametrize("change", ["size", "cut", "backbone"])
def test_the_trunk_runs_again_where_its_features_would_differ(config, first, tmp_path, change):
    """Another learning rate does not run it: see the worse model above."""
    from inception_finetune.components.backbone.standin import make_standin

    other = tmp_path / "other"
    make_standin(other, seed=1)
    sections = {
        "size": {"image": {"size": 76}},
        "cut": {"backbone": {"trainable_from": "Mixed_7c"}},
        "backbone": {"backbone": {"handle": str(other)}},
    }[change]
    assert new_trunk_stores(config, lambda: run(untrainable(config, **sections))) == 1
    assert new_trunk_stores(config, lambda: run(untrainable(config, **sections))) == 0


def test_tuned_values_train_the_model(config, first):
    """On the stored features, without the trunk; the trials can be looked at."""
    from inception_finetune.pipeline.history.tensorboard import log_directories

    tuning = {"trials": 2, "epochs": 1, "weight_decay": [0.0], "label_smoothing": [0.0]}
    tuned = run(changed(config, tuning=tuning))
    assert ran(tuned)[:2] == ["Tuner", "Trainer"]
    [artifact] = (Path(config.root) / "artifacts/Tuner/tuner_results").iterdir()
    trials = json.loads((artifact / "tuner_results.json").read_text())
    assert len({trial["learning_rate"] for trial in trials}) == 2
    best = max(trials, key=lambda trial: trial["score"])
    newest = max(
        (Path(config.root) / "artifacts/Trainer/model").iterdir(), key=lambda path: int(path.name)
    )
    extra = newest / "Format-Serving/assets.extra"
    training = json.loads((extra / "settings.json").read_text())["training"]
    assert training["learning_rate"] == best["learning_rate"]
    assert training["steps"] == config.training.steps
    names = log_directories(config)
    assert sum(name.startswith("trial ") for name in names) == 2
    assert ran(run(changed(config, tuning=tuning)))[:1] != ["Tuner"]


def test_changed_code_runs_the_steps_that_import_it_and_those_after_them(config, first, tmp_path):
    """A dotted path alone would be a cache hit: TFX does not look at the code behind it."""
    copy = tmp_path / "site" / "inception_finetune"
    shutil.copytree(REPOSITORY / "src" / "inception_finetune", copy)
    with (copy / "trainer" / "step.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef added():\n    pass\n")
    settings = tmp_path / "config.yaml"
    settings.write_text(yaml.safe_dump(config.model_dump(mode="json")), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "inception_finetune", "run", "--config", str(settings)],
        env=os.environ | {"PYTHONPATH": str(copy.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = [Step.TRAINER, Step.TEST_PREDICTIONS, Step.EVALUATOR, Step.PUSHER, Step.MODEL_REPORT]
    assert sorted(ran(read_outcome(config))) == sorted(steps)


def test_a_failing_step_is_one_line(config, first, tmp_path, standin):
    """Too large a batch is found by the Trainer, deep in the DAG."""
    with pytest.raises(
        UserError, match="Train split of 1295 examples does not fill one batch"
    ) as failure:
        run(changed(config, training={"batch_size": 2000}))
    assert "\n" not in str(failure.value)


def damaged_records(config: Config, directory: Path, damage) -> tuple[Path, str]:
    """A copy of the records with one validation example changed, and what `damage` returned."""
    import tensorflow as tf

    from inception_finetune.pipeline.inputs import records_directory

    records = shutil.copytree(records_directory(config), directory / "records")
    shard = next(records.glob("validation-*"))
    serialized = list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
    example = tf.train.Example.FromString(serialized[0])
    told = damage(example)
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for record in (example.SerializeToString(), *serialized[1:]):
            writer.write(record)
    return records, told


def run_records(config: Config, records: Path) -> None:
    from inception_finetune.pipeline.inputs import prepare_inputs
    from inception_finetune.pipeline.local import run_pipeline

    run_pipeline(config, replace(prepare_inputs(config), records=str(records)))


def test_the_trunk_runs_again_for_other_examples(config, first, tmp_path):
    def rename(example) -> str:
        example.features.feature[features.IMAGE_ID].bytes_list.value[0] = b"another"
        return ""

    records, _ = damaged_records(config, tmp_path, rename)
    assert new_trunk_stores(config, lambda: run_records(untrainable(config), records)) == 1


def test_a_wrong_label_stops_before_training(config, first, tmp_path):
    """A record that says class 10 of 10, in shards that pass for converted ones."""

    def mislabel(example) -> str:
        example.features.feature[features.LABEL].int64_list.value[0] = 10
        return ""

    records, _ = damaged_records(config, tmp_path, mislabel)
    with pytest.raises(UserError, match=f"validation: {features.LABEL}"):
        run_records(config, records)


def test_a_damaged_picture_is_named_before_anything_is_trained(config, first, tmp_path):
    """Statistics see only bytes; the trunk is the first to decode."""
    import tensorflow as tf

    def damage(example: "tf.train.Example") -> str:
        encoded = example.features.feature[features.IMAGE_ENCODED].bytes_list
        encoded.value[0] = encoded.value[0][:60]
        return example.features.feature[features.IMAGE_ID].bytes_list.value[0].decode()

    records, identity = damaged_records(config, tmp_path, damage)
    with pytest.raises(
        UserError, match=f"Image {identity} .* is not a whole PNG or JPEG"
    ) as failure:
        run_records(config, records)
    assert "\n" not in str(failure.value)


def test_beams_own_runner_finds_the_same_results(config, first):
    """It trains nothing again; models that other tests had blessed may be a new baseline."""
    beam = run(Config.model_validate({**config.model_dump(), "runner": "beam"}))
    assert set(ran(beam)) <= {"TestPredictions", "Evaluator", "ModelReport", "Pusher"}
    assert [step.name for step in beam.steps if step.name == "TrunkFeatures" and step.cached]
    assert beam.blessed and beam.metrics == pytest.approx(first.metrics, rel=1e-5)


def test_metadata_is_sqlite_below_the_root(config, first):
    with sqlite3.connect(Path(config.root) / "metadata.sqlite") as database:
        [(count,)] = database.execute("select count(*) from Execution").fetchall()
    assert count >= len(STEPS)


def digit_pictures(directory: Path, count: int) -> list[Path]:
    """Real digits as PNG files of various sizes."""
    from sklearn.datasets import load_digits

    paths = []
    for index, pixels in enumerate(load_digits().images[:count]):
        path = directory / f"digit {index}.png"
        side = 32 + 10 * index
        Image.fromarray((pixels * 255 / 16).astype(np.uint8)).resize((side, side)).save(path)
        paths.append(path)
    return paths
