"""What pictures `predict` finds, what is true of them, and how the predictions are drawn."""

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from components.errors import UserError
from pipeline.pictures import Picture, read_pictures
from pipeline.predict import Prediction, print_predictions
from pipeline.predict_grid import SHOWN, draw_predictions

NAMES = ("cat", "dog", "newt", "owl", "pike", "ray")


def png(level: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (level, level, 255)).save(buffer, "PNG")
    return buffer.getvalue()


def test_folders_named_as_a_class_say_what_is_true(tmp_path):
    for path in ("b/dog/2.png", "b/dog/1.JPG", "b/cat/3.png", "b/4.png", "b/notes.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(png())
    found = read_pictures([tmp_path / "b/4.png", tmp_path / "b"], NAMES)
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
    found = read_pictures([path], NAMES)
    assert [picture.truth for picture in found] == [*NAMES, None, None, None, None]
    assert [picture.encoded for picture in found] == examples.encoded
    assert found[3].name == examples.ids[3].decode()


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(UserError, match=f"must hold pictures .*Received: {tmp_path}"):
        read_pictures([tmp_path], NAMES)


def prediction(name: str, truth: str | None, **shares: float) -> Prediction:
    probabilities = dict.fromkeys(NAMES, 0.0) | shares
    best = max(probabilities, key=probabilities.__getitem__)
    return Prediction(Picture(name, png(), truth), NAMES.index(best), best, probabilities)


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
    with pytest.raises(UserError, match="cannot write the picture grid to"):
        draw_predictions([prediction("a.png", None, dog=1.0)], tmp_path / "file" / "grid.png")
