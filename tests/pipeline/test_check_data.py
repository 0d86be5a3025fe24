"""check-data on a run: silence on held-out pictures, an alarm on changed ones, and what changed."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from PIL import Image

from helpers.web_server import serving
from inception_finetune.components import features
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3

pytestmark = pytest.mark.e2e

CHANGED = 4  # the exit status, as the README has it
review = pytest.mark.review  # more of the same, at 5 s each

CHANGES = {
    "inverted": lambda pixels, random: 255 - pixels,
    "noisy": lambda pixels, random: pixels + random.normal(0, 40, pixels.shape),
    # The same levels at other places: no statistic of a picture sees that.
    "upside down": lambda pixels, random: pixels[::-1, ::-1],
    # Patches of colour: another domain.
    "patches": lambda pixels, random: np.kron(
        random.integers(0, 256, (4, 4, 3)), np.ones((8, 8, 1))
    ),
}


@pytest.fixture(scope="module")
def held_out(smallest_config, first_run) -> Path:
    """The test split, as TFX has it: 360 pictures that no weight was trained on."""
    from inception_finetune.pipeline.history.runs import read_runs

    artifact = read_runs(smallest_config)[0].artifacts["ImportExampleGen", "examples"]
    return Path(artifact.uri) / "Split-test"


@pytest.fixture
def check(smallest_config, run_command, monkeypatch):
    """``check(place)`` calls the command and gives (status, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "100")
    return lambda place, *options: run_command(
        "check-data", place, f"root={smallest_config.root}", *options
    )


def change_records(held_out: Path, target: Path, change) -> Path:
    """A copy of the records with `change(example)` done to each."""

    from inception_finetune.components.io.record_index import COMPRESSION

    files = [str(path) for path in held_out.iterdir()]
    target.mkdir()
    with tf.io.TFRecordWriter(str(target / "new.tfrecord")) as writer:
        for record in tf.data.TFRecordDataset(files, COMPRESSION).as_numpy_iterator():
            example = tf.train.Example.FromString(record)
            change(example.features.feature)
            writer.write(example.SerializeToString())
    return target


def test_held_out_pictures_raise_no_alarm(check, held_out, tmp_path):
    page = tmp_path / "below" / "check.html"
    status, out, err = check(held_out, "--save", str(page))
    assert status == 0
    assert "unchanged: 360 new records are like those of training" in out
    assert "unchanged" in page.read_text() and "Embedding: 502 pictures" in err


def test_a_url_of_an_archive_is_fetched(check, held_out, first_run):
    from inception_finetune.components.evaluation.label_names import read_label_names
    from inception_finetune.components.io.record_index import COMPRESSION

    names = read_label_names(first_run.pushed)
    files = [str(path) for path in held_out.iterdir()]
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        records = tf.data.TFRecordDataset(files, COMPRESSION).as_numpy_iterator()
        for number, record in enumerate(records):
            feature = tf.train.Example.FromString(record).features.feature
            [encoded] = feature[features.IMAGE_ENCODED].bytes_list.value
            [label] = feature[features.LABEL].int64_list.value
            archive.writestr(f"{names[label]}/{number}.png", encoded)
    with serving(whole.getvalue()) as server:
        status, out, err = check(f"{server.address}/new.zip")
    assert status == 0
    assert "unchanged: 360 new records are like those of training" in out
    assert "new.zip: class folders, 10 classes, no splits, in the archive" in err


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("inverted", marks=review),
        pytest.param("noisy", marks=review),
        "upside down",
        pytest.param("patches", marks=review),
    ],
)
def test_changed_pictures_raise_an_alarm(check, held_out, tmp_path, name):
    random = np.random.default_rng(0)

    def change(feature):
        [encoded] = feature[features.IMAGE_ENCODED].bytes_list.value
        pixels = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")).astype(float)
        changed = np.clip(CHANGES[name](pixels, random), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(changed).save(buffer, "PNG")
        feature[features.IMAGE_ENCODED].bytes_list.value[0] = buffer.getvalue()

    status, out, _ = check(change_records(held_out, tmp_path / "new", change))
    assert status == CHANGED
    verdict = out.splitlines()[-1]
    assert verdict.startswith("changed: ")
    if name == "upside down":
        assert verdict == "changed: features (p = 0.0002)"
    else:
        assert "contrast" in verdict or "brightness" in verdict


def test_a_picture_that_cannot_be_read_and_other_labels(check, held_out, tmp_path):
    numbers = iter(range(360))

    def change(feature):
        if (number := next(numbers)) < 2:
            feature[features.IMAGE_ENCODED].bytes_list.value[0] = b"no picture"
        if number < 150:
            feature[features.LABEL].int64_list.value[0] = 7

    status, out, _ = check(change_records(held_out, tmp_path / "new", change))
    assert status == CHANGED
    assert "2 pictures cannot be read" in out
    [row] = [line for line in out.splitlines() if line.strip().startswith("7 seven")]
    assert float(row.split()[-1]) > 0.3
    assert f"changed: {features.LABEL}: The Linfty distance" in out


@review
def test_unlabelled_records_are_all_right_if_one_says_so(check, held_out, tmp_path):
    def change(feature):
        del feature[features.LABEL]

    new = change_records(held_out, tmp_path / "new", change)
    assert check(new, "--unlabelled")[0] == 0
    status, out, _ = check(new)
    assert status == CHANGED and f"changed: {features.LABEL}: " in out


@pytest.fixture
def older(first_run, tmp_path) -> Path:
    """The pushed model as an older version would have exported it: without `embed_images` and a
    temperature, its settings with a surplus key and without later ones.
    """
    target = tmp_path / "older"
    model = tf.saved_model.load(str(first_run.pushed))
    signatures = {name: one for name, one in model.signatures.items() if name != "embed_images"}
    fitted = json.loads((first_run.pushed / "assets.extra/confidence.json").read_text())
    answering = signatures["predict_images"]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "images")])
    def predict_images(images):
        answer = answering(images=images)
        logits = tf.math.log(answer["probabilities"]) * fitted["temperature"]
        return {**answer, "probabilities": tf.nn.softmax(logits)}

    signatures["predict_images"] = predict_images
    model.answering_variables = model.network_variables
    model.network_variables = as_keras_named_them(model.network_variables)
    tf.saved_model.save(model, str(target), signatures=signatures)
    extra = shutil.copytree(first_run.pushed / "assets.extra", target / "assets.extra")
    (extra / "confidence.json").unlink()
    settings = json.loads((extra / "settings.json").read_text())
    settings["steps_of_old"] = settings["training"]["rate_of_old"] = 1
    for key in ("network", "compute_dtype", "views", "fresh"):
        settings.pop(key, None)
    settings["training"].pop("clip_norm")
    (extra / "settings.json").write_text(json.dumps(settings))
    return target


def as_keras_named_them(variables) -> list[tf.Variable]:
    """The same weights under the names, and in the order, of `keras.applications`' network."""
    values = {one.name.removesuffix(":0"): one.numpy() for one in variables}
    network = keras.applications.InceptionV3(weights=None, include_top=False, pooling="avg")
    named = {}
    for kind, suffix in (
        (keras.layers.Conv2D, ""),
        (keras.layers.BatchNormalization, "/BatchNorm"),
    ):
        layers = [layer for layer in network.layers if isinstance(layer, kind)]
        layers.sort(key=lambda layer: (len(layer.name), layer.name))  # as they are numbered
        for layer, scope in zip(layers, INCEPTION_V3.convolutions, strict=True):
            for weight in layer.weights:
                last = weight.name.rpartition("/")[2].removesuffix(":0")
                named[weight.name] = values[f"{scope}{suffix}/{last}"]
    head = [(name, value) for name, value in values.items() if name.startswith("logits/")]
    assert len(head) == 2 and len(named) == 376
    return [
        tf.Variable(value, name=name.removesuffix(":0"))
        for name, value in [*((one.name, named[one.name]) for one in network.weights), *head]
    ]


def test_a_model_of_an_older_version_sees_the_same(check, held_out, first_run, older, examples):
    from inception_finetune.trainer.embedding import Embedder

    vectors = [
        Embedder(place).embed(examples.encoded, lambda n, note="": None)
        for place in (first_run.pushed, older)
    ]
    assert vectors[0].shape == (10, 2048) and vectors[0].std() > 0.01
    np.testing.assert_allclose(*vectors, atol=1e-4)
    status, out, _ = check(held_out, "--model", str(older))
    assert status == 0 and "unchanged: 360 new records" in out and "not compared" not in out


def test_without_a_network_all_but_the_features_is_compared(check, held_out, older):
    settings = older / "assets.extra/settings.json"
    settings.write_text(settings.read_text().replace('"trainable_from"', '"x"'))
    status, out, err = check(held_out, "--model", str(older))
    assert status == 0 and "Traceback" not in err
    assert f"not compared: Model in {older} has no signature embed_images" in out
    assert "are like those of training; features were not compared" in out


def test_the_rebuilt_network_must_give_the_models_answers(older, examples):
    from inception_finetune.trainer.embedding import Embedder, UnknownNetworkError

    path = older / "assets.extra/settings.json"
    settings = json.loads(path.read_text())
    settings["trainable_from"] = settings["cut_before"] = "all"  # other weights' order or network
    settings["image_size"] += 8
    path.write_text(json.dumps(settings))
    with pytest.raises((UnknownNetworkError), match="cannot be rebuilt: "):
        Embedder(older).embed(examples.encoded, lambda n, note="": None)


def test_nothing_was_run_yet(check, smallest_config, held_out, monkeypatch, tmp_path):
    status, out, err = check(held_out, f"root={tmp_path}/empty")
    assert (status, out) == (1, "")
    assert err.startswith("error: Pipeline digits has no run in") and err.count("\n") == 1
    assert not (tmp_path / "empty").exists()
