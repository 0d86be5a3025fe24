"""A model that is damaged, or is another's: one line, whatever `predict` is given beside it."""

import random
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from helpers.made_pictures import encoded
from helpers.predicting import predictions
from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.exported_model import load_exported


class Constant(tf.Module):
    """Answers the same to every picture: two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.shares = tf.Variable([[0.9, 0.1]])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def answer(self, images):
        count = tf.size(images)
        return {
            features.PROBABILITIES: tf.repeat(self.shares, count, axis=0),
            features.ERROR: tf.fill([count], ""),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def other(self, images):
        return {"vector": tf.repeat(self.shares, tf.size(images), axis=0)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    directory, model = tmp_path_factory.mktemp("model") / "1", Constant()
    signatures = {"predict_images": model.answer, "embed_images": model.other}
    tf.saved_model.save(model, str(directory), signatures=signatures)
    named(directory, "0:cat\n1:dog\n")
    return directory


@pytest.fixture
def model(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "model")


@pytest.fixture
def picture(tmp_path) -> Path:
    (tmp_path / "a.png").write_bytes(encoded(0))
    return tmp_path / "a.png"


def named(directory: Path, lines: str) -> None:
    (directory / "assets.extra").mkdir(exist_ok=True)
    (directory / "assets.extra/labels.txt").write_text(lines)


def refusal(model: Path, picture: Path) -> str:
    with pytest.raises(UserError) as refused:
        predictions(model, [picture])
    message = str(refused.value)
    assert "\n" not in message and len(message) < 600 and str(model) in message
    return message


def test_a_whole_one_answers(model, picture):
    [found] = predictions(model, [picture])
    assert found.label_name == "cat" and found.probabilities["dog"] == pytest.approx(0.1)


@pytest.mark.parametrize("lines", ["0:cat\n", "0:cat\n1:dog\n2:owl\n"])
def test_another_number_of_names(model, picture, lines):
    named(model, lines)
    told = f"tells 2 classes apart, and its labels.txt names {lines.count(':')}. Push it again"
    assert told in refusal(model, picture)


def test_without_names(model, picture):
    shutil.rmtree(model / "assets.extra")
    assert "Class names are missing" in refusal(model, picture)
    (model / "assets.extra/labels.txt").mkdir(parents=True)
    assert "Class names are missing" in refusal(model, picture)
    shutil.rmtree(model / "assets.extra")
    (model / "assets.extra").write_text("")
    assert "Class names are missing" in refusal(model, picture)


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index"])
def test_damaged_files(model, picture, file):
    data = (model / file).read_bytes()
    for damaged in (b"", data[: len(data) // 2], b"no model", b"\xff" * len(data)):
        (model / file).write_bytes(damaged)
        assert f"Model {model} cannot be loaded" in refusal(model, picture)


def test_damaged_variables(model, picture):
    [file] = model.glob("variables/variables.data*")
    data = file.read_bytes()
    for damaged in (b"", bytes([data[0] ^ 1]) + data[1:], data[:5]):
        file.write_bytes(damaged)
        assert f"Model {model} cannot be loaded" in refusal(model, picture)
    file.unlink()
    assert f"Model {model} cannot be loaded" in refusal(model, picture)


def test_any_damage_of_the_graph_is_a_model_or_one_line(model):
    path = model / "saved_model.pb"
    data = path.read_bytes()
    generator = random.Random(0)
    refused = 0
    for _ in range(60):
        place = generator.randrange(len(data))
        path.write_bytes(data[:place] + generator.randbytes(3) + data[place + 3 :])
        try:
            load_exported(model)
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 5


def test_a_model_of_others(tmp_path, picture):
    module = Constant()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"predict_images": module.other})
    named(tmp_path / "1", "0:cat\n1:dog\n")
    told = "has no signature predict_images that gives probabilities and error"
    assert told in refusal(tmp_path / "1", picture)
    tf.saved_model.save(tf.Module(), str(tmp_path / "2"))
    named(tmp_path / "2", "0:cat\n1:dog\n")
    assert told in refusal(tmp_path / "2", picture)
