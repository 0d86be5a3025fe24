"""What pictures `predict` finds, what is true of them, and how the predictions are drawn."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.prediction import predict as prediction_module
from inception_finetune.pipeline.prediction.grid import SHOWN, draw_predictions
from inception_finetune.pipeline.prediction.pictures import Picture, read_pictures
from inception_finetune.pipeline.prediction.predict import Prediction, predict, print_predictions

NAMES = ("cat", "dog", "newt", "owl", "pike", "ray")


def png(level: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (level, level, 255)).save(buffer, "PNG")
    return buffer.getvalue()


def test_folders_named_as_a_class_say_what_is_true(tmp_path):
    for path in ("b/dog/2.png", "b/dog/1.JPG", "b/cat/3.png", "b/4.png", "b/notes.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(png())
    found = list(read_pictures([tmp_path / "b/4.png", tmp_path / "b"], NAMES))
    relative = [picture.name.removeprefix(f"{tmp_path}/b/") for picture in found]
    assert relative == ["4.png", "4.png", "cat/3.png", "dog/1.JPG", "dog/2.png"]
    assert [picture.truth for picture in found] == [None, None, "cat", "dog", "dog"]
    assert found[0].encoded == png()


def test_records_know_their_label(tmp_path, examples):
    import tensorflow as tf

    path = tmp_path / "new.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in examples.serialized:
            writer.write(record)
    found = list(read_pictures([path], NAMES))
    assert [picture.truth for picture in found] == [*NAMES, None, None, None, None]
    assert [picture.encoded for picture in found] == examples.encoded
    assert found[3].name == examples.ids[3].decode()


@pytest.mark.parametrize("name", ["new.tfrecord", "new.tfrecord.gz"])
def test_an_empty_file_of_records_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=f"No records in {tmp_path / name}: it is empty"):
        list(read_pictures([tmp_path / name], NAMES))


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(UserError, match=f"No pictures .* in folder {tmp_path}"):
        read_pictures([tmp_path], NAMES)


def test_what_systems_leave_in_folders_is_not_looked_at(tmp_path):
    for path in ("cat/1.jpg", "cat/._1.jpg", "__MACOSX/cat/1.jpg", ".cache/2.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(png())
    found = [picture.name for picture in read_pictures([tmp_path], NAMES)]
    assert found == [str(tmp_path / "cat/1.jpg")]


def test_a_place_that_is_missing_is_named_before_anything_is_read(tmp_path):
    with pytest.raises(UserError, match="No such file or folder: .*none.png"):
        read_pictures([tmp_path / "none.png"], NAMES)


@pytest.fixture(scope="module")
def model(transform_output, tmp_path_factory):
    """Answers by the mean pixel: light, grey, dark; the names try rich's markup."""
    import tensorflow as tf
    import tf_keras as keras

    from inception_finetune.trainer import signatures

    class Brightness(keras.layers.Layer):
        def call(self, images):
            mean = tf.reduce_mean(images, axis=[1, 2, 3])
            return 10 * tf.stack([mean, tf.zeros_like(mean), -mean], axis=1)

    directory = tmp_path_factory.mktemp("pushed") / "1"
    image = keras.Input([75, 75, 3])
    vector = keras.layers.GlobalAveragePooling2D()(image)
    network = keras.Model(image, [vector, Brightness()(image)])
    labels = ("[red]", "[/]", "dark")
    signatures.export(signatures.ServingModel(network, transform_output, labels), str(directory))
    (directory / "assets.extra").mkdir()
    lines = "".join(f"{place}:{name}\n" for place, name in enumerate(labels))
    (directory / "assets.extra/labels.txt").write_text(lines)
    return directory


def test_one_bad_file_does_not_harm_the_others(model, tmp_path, run_command, monkeypatch):
    monkeypatch.setattr(prediction_module, "_BATCH", 3)
    for i in range(8):
        (tmp_path / f"{i}.png").write_bytes(png() if i != 4 else png()[:40])
    target = tmp_path / "out" / "grid.png"
    status, out, err = run_command("predict", "--model", model, "--save-grid", target, tmp_path)
    assert status == 1
    assert out.count("[/]") + out.count("dark") >= 7 and out.count("not read") == 1
    assert "1 of 8 pictures could not be read, such as" in err and "4.png (a picture must be" in err
    assert target.is_file() and "7 pictures: " in out
    assert "Predicting: 8 images" in err


def test_bytes_stay_with_what_is_drawn_alone(model, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_module, "_BATCH", 2)
    for i in range(6):
        (tmp_path / f"{i}.png").write_bytes(png(40 * i))
    found = predict(model, [tmp_path], with_bytes=2)
    assert [one.label_name for one in found][0] == "dark"
    kept = [one.picture.name for one in found if one.picture.encoded]
    doubts = sorted(found, key=lambda one: max(one.probabilities.values()))[:2]
    assert sorted(kept) == sorted(one.picture.name for one in doubts)
    assert not any(one.picture.encoded for one in predict(model, [tmp_path]))


def test_a_model_that_is_not_whole_is_one_line(model, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(UserError, match="Class names are missing"):
        predict(tmp_path, [tmp_path])
    damaged = tmp_path / "model"
    shutil.copytree(model, damaged)
    (damaged / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(UserError, match="cannot be loaded"):
        predict(damaged, [tmp_path / "a.png"])


def test_names_are_printed_as_they_are(capsys):
    names = ("[red]", "[/]")
    name = "[b]:cat:\x1b[2J.png"
    one = Prediction(Picture(name, png(), "[/]"), names, np.array([0.9, 0.1], np.float32))
    console = Console(width=100, record=True, file=io.StringIO())
    print_predictions([one], console)
    text = console.export_text()
    assert r"[b]:cat:\x1b[2J.png" in text and "0 [red]" in text and "[red] 0.900, [/] 0.100" in text


def prediction(name: str, truth: str | None, **shares: float) -> Prediction:
    row = np.array([shares.get(label, 0.0) for label in NAMES], np.float32)
    return Prediction(Picture(name, png(), truth), NAMES, row)


def test_the_table_counts_what_is_right(capsys):
    predictions = [
        prediction("a [b].png", "dog", dog=0.7, cat=0.2, owl=0.1),
        prediction("c.png", "cat", dog=0.6, cat=0.4),
        prediction("d.png", None, dog=0.6, cat=0.4),
    ]
    console = Console(width=100, record=True, file=io.StringIO())
    print_predictions(predictions, console)
    text = console.export_text()
    assert "a [b].png" in text and "dog 0.700, cat 0.200, owl 0.100" in text
    assert "1 of 2 right" in text


def test_mistakes_are_drawn_first_then_doubts(tmp_path):
    """Red stands for a mistake, green for what is true: in the first column, top to bottom."""
    sure = [prediction(f"{i}.png", "dog", dog=0.9) for i in range(SHOWN)]
    doubt = prediction("doubt.png", "owl", owl=0.5, ray=0.45)
    wrong = prediction("wrong.png", "newt", pike=0.8, newt=0.001)
    drawn = draw_predictions([*sure, doubt, wrong], tmp_path / "below" / "grid.png")
    assert drawn == SHOWN
    pixels = np.asarray(Image.open(tmp_path / "below" / "grid.png").convert("RGB")).astype(int)
    red = (abs(pixels - (0xC5, 0x1B, 0x1B)) < 8).all(axis=-1)
    rows, columns = np.nonzero(red)
    # The mistake's bar and title alone are red, and they are in the cell at the top left.
    assert rows.max() < len(pixels) / 12 + 60 and columns.max() < pixels.shape[1] / 4
    assert red.sum() > 500


def test_a_grid_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write the picture grid to"):
        draw_predictions([prediction("a.png", None, dog=1.0)], tmp_path / "file" / "grid.png")


def test_names_that_are_no_text_are_drawn(tmp_path):
    """Neither formulas nor bytes that are not UTF-8 nor what moves a cursor is in the way."""
    names = (r"$\frac{$", "[/]\x1b")
    row = np.array([0.6, 0.4], np.float32)
    predictions = [
        Prediction(Picture(name, png(), names[1]), names, row)
        for name in ("a$x_$.png", b"caf\xe9.png".decode(errors="surrogateescape"))
    ]
    assert draw_predictions(predictions, tmp_path / "grid.png") == 2
    console = Console(width=120, record=True, file=io.StringIO())
    print_predictions(predictions, console)
    assert r"caf\udce9.png" in console.export_text()


def test_what_the_model_alone_can_decode_is_not_shown(tmp_path):
    """Of an older version, whose decoder took other pictures."""
    row = np.array([0.6, 0.4], np.float32)
    odd = Prediction(Picture("a.png", png()[:40], None), ("cat", "dog"), row)
    assert draw_predictions([odd], tmp_path / "grid.png") == 1
    assert (tmp_path / "grid.png").is_file()
