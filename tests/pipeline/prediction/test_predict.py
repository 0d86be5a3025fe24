"""What the stream of predictions holds and counts, and how they are drawn."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from helpers.predicting import predictions
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.pushed_model import PushedModel
from inception_finetune.pipeline.prediction import predict as prediction_module
from inception_finetune.pipeline.prediction.addresses import find_pictures
from inception_finetune.pipeline.prediction.grid import draw_predictions
from inception_finetune.pipeline.prediction.pictures import Picture, read_pictures
from inception_finetune.pipeline.prediction.predict import SHOWN, Prediction, Summary, predict

NAMES = ("cat", "dog", "newt", "owl", "pike", "ray")


def png(level: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (level, level, 255)).save(buffer, "PNG")
    return buffer.getvalue()


def prediction(name: str, truth: str | None, **shares: float) -> Prediction:
    row = np.array([shares.get(label, 0.0) for label in NAMES], np.float32)
    return Prediction(Picture(name, png(), truth), NAMES, row)


def summary_of(*found: Prediction) -> Summary:
    summary = Summary(keep=SHOWN)
    summary.add(found)
    return summary


def test_batches_are_bounded_by_number_and_by_bytes(brightness_model, tmp_path, monkeypatch):
    for i in range(7):
        (tmp_path / f"{i}.png").write_bytes(png(40 * i))
    model = PushedModel(brightness_model)

    def sizes() -> list[int]:
        pictures = read_pictures(find_pictures([tmp_path]), model.label_names)
        return [len(batch) for batch in predict(model, pictures)]

    monkeypatch.setattr(prediction_module, "_BATCH", 3)
    assert sizes() == [3, 3, 1]
    monkeypatch.setattr(prediction_module, "_BATCH_BYTES", 2 * len(png()) - 1)
    assert sizes() == [2, 2, 2, 1]


def test_bytes_stay_with_what_is_drawn_alone(brightness_model, tmp_path):
    for i in range(6):
        (tmp_path / f"{i}.png").write_bytes(png(40 * i))
    found = predictions(brightness_model, [tmp_path])
    assert [one.label_name for one in found][0] == "dark"
    summary = Summary(keep=2)
    for start in (0, 2, 4):
        summary.add(found[start : start + 2])
    doubts = sorted(found, key=lambda one: max(one.probabilities.values()))[:2]
    assert [one.picture.name for one in summary.kept] == [one.picture.name for one in doubts]
    assert (summary.total, summary.unread, summary.right_line) == (6, 0, "")
    assert summary_of(*found).kept != () and not Summary().kept


def test_a_model_that_is_not_whole_is_one_line(brightness_model, tmp_path):
    with pytest.raises(UserError, match="Class names are missing"):
        PushedModel(tmp_path)
    damaged = tmp_path / "model"
    shutil.copytree(brightness_model, damaged)
    (damaged / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(UserError, match="cannot be loaded"):
        PushedModel(damaged)


def test_what_is_right_is_counted():
    unread = Prediction(Picture("e\x1b.png", b"", "dog"), NAMES, np.zeros(6, np.float32), "damaged")
    summary = summary_of(
        prediction("a.png", "dog", dog=0.7, cat=0.2, owl=0.1),
        prediction("c.png", "cat", dog=0.6, cat=0.4),
        prediction("d.png", None, dog=0.6, cat=0.4),
        unread,
    )
    assert summary.right_line == "1 of 2 right"
    assert summary.unread_line == (
        "1 of 4 pictures could not be read, such as e\\x1b.png (damaged). "
        "Replace them or leave them out."
    )
    assert not summary_of(prediction("a.png", None, dog=1)).unread_line


def test_equal_probabilities_are_ranked_by_the_id():
    one = prediction("a.png", None, owl=0.25, dog=0.25, cat=0.25, ray=0.25)
    assert [name for name, _ in one.ranked(3)] == ["cat", "dog", "owl"]
    assert one.label_name == "cat" and len(one.ranked(99)) == 6


def test_mistakes_are_drawn_first_then_doubts(tmp_path):
    """Red stands for a mistake, green for what is true: in the first column, top to bottom."""
    sure = [prediction(f"{i}.png", "dog", dog=0.9) for i in range(SHOWN)]
    doubt = prediction("doubt.png", "owl", owl=0.5, ray=0.45)
    wrong = prediction("wrong.png", "newt", pike=0.8, newt=0.001)
    drawn = draw_predictions(summary_of(*sure, doubt, wrong), tmp_path / "below" / "grid.png")
    assert drawn == SHOWN
    pixels = np.asarray(Image.open(tmp_path / "below" / "grid.png").convert("RGB")).astype(int)
    red = (abs(pixels - (0xC5, 0x1B, 0x1B)) < 8).all(axis=-1)
    rows, columns = np.nonzero(red)
    # The mistake's bar and title alone are red, and they are in the cell at the top left.
    assert rows.max() < len(pixels) / 12 + 60 and columns.max() < pixels.shape[1] / 4
    assert red.sum() > 500


def test_a_grid_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write "):
        draw_predictions(
            summary_of(prediction("a.png", None, dog=1.0)), tmp_path / "file" / "grid.png"
        )


def test_names_that_are_no_text_are_drawn(tmp_path):
    """Neither formulas nor bytes that are not UTF-8 nor what moves a cursor is in the way."""
    names = (r"$\frac{$", "[/]\x1b")
    row = np.array([0.6, 0.4], np.float32)
    odd = [
        Prediction(Picture(name, png(), names[1]), names, row)
        for name in ("a$x_$.png", b"caf\xe9.png".decode(errors="surrogateescape"))
    ]
    assert draw_predictions(summary_of(*odd), tmp_path / "grid.png") == 2


def test_what_the_model_alone_can_decode_is_not_shown(tmp_path):
    """Of an older version, whose decoder took other pictures."""
    row = np.array([0.6, 0.4], np.float32)
    odd = Prediction(Picture("a.png", png()[:40], None), ("cat", "dog"), row)
    assert draw_predictions(summary_of(odd), tmp_path / "grid.png") == 1
    assert (tmp_path / "grid.png").is_file()
