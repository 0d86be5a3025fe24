"""A model that answers test pictures, exported; and models whose exports answer otherwise."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from helpers.exporting import LABELS, pictures, sabotaged
from inception_finetune.components.backbone.module import fingerprint
from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.errors import UserError
from inception_finetune.components.export import formats
from inception_finetune.components.export.answers import ask, write_pictures
from inception_finetune.components.export.export import export
from inception_finetune.components.export.exported_file import open_exported_file
from inception_finetune.components.export.exported_model import ExportedModel
from inception_finetune.components.export.pictures import LabelledPictures
from inception_finetune.components.export.record import PUSHED_IN
from inception_finetune.components.export.settings import ExportSection

# What 8 bits cost a network of random weights is not the point here.
SETTINGS = ExportSection.model_validate(
    {
        "tflite_int8": {"min_agreement": 0.8, "max_accuracy_loss": 0.2},
        "tflite_float16": {"max_accuracy_loss": 0.1, "min_agreement": 0.9},
    }
)
ONNX = formats.chosen_formats("onnx")


@pytest.fixture(scope="module")
def asked(pushed):
    """30 pictures, of which the model gets 24 right."""
    shown = pictures(15, 32, 32) + pictures(15, 60, 45, seed=1)
    encoded = [encode_png(one) for one in shown]
    signature = tf.saved_model.load(str(pushed)).signatures["predict_images"]
    labels = signature(images=tf.constant(encoded))["label_id"].numpy()
    assert len(set(labels)) > 1
    labels[:6] = (labels[:6] + 1) % len(LABELS)
    return LabelledPictures(tuple(encoded), labels)


def test_every_format_is_written_and_measured(pushed, asked, tmp_path):
    chosen = tuple(formats.FORMATS.values())
    # A pushed model carries earlier exports, which are no part of it.
    model = Path(shutil.copytree(pushed, tmp_path / "carrying"))
    (model / PUSHED_IN).mkdir()
    (model / PUSHED_IN / "model.onnx").write_bytes(b"x" * 10**7)
    output = tmp_path / "exports"
    found = export(model, chosen, output, asked, pictures(20, 32, 32, seed=5), SETTINGS)
    assert found.fingerprint == fingerprint(pushed) == fingerprint(model)
    assert (found.test_pictures, found.calibration_pictures) == (30, 20)
    assert not found.refused
    assert found.files == {name: one.file_name for name, one in formats.FORMATS.items()}
    assert {path.name for path in output.iterdir()} == set(found.files.values())
    onnx = found.exports[0]
    assert found.model.accuracy == onnx.accuracy == 0.8
    assert onnx.agreement == 1 and onnx.difference < 1e-5
    assert found.model.size == sum(
        path.stat().st_size for path in pushed.rglob("*") if path.is_file()
    )
    for row in found.exports:
        assert row.milliseconds > 0
        assert row.size == (output / row.file).stat().st_size > 1000
        # TensorFlow's process takes hundreds of MB, and only one of the others loads it.
        assert (row.peak_bytes < found.model.peak_bytes / 2) is (row.name != "tfjs")
        assert open_exported_file(output / row.file).metadata.fingerprint == found.fingerprint
    said = ExportedModel(output / onnx.file).answer([b"no picture", *asked.encoded])
    assert "a whole PNG or JPEG" in said.errors[0] and not any(said.errors[1:])
    write_pictures(asked.encoded, tmp_path / "pictures.zip")
    answers = ask(output / onnx.file, tmp_path / "pictures.zip", tmp_path)
    np.testing.assert_array_equal(said.shares[1:], answers.probabilities)


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: pixels[..., ::-1],
        lambda pixels: pixels // 255,  # [0, 1] where [0, 255] is expected
        lambda pixels: tf.transpose(pixels, [0, 2, 1, 3]),
    ],
    ids=["channels swapped", "another range", "rows for columns"],
)
def test_a_sabotaged_export_is_refused_and_the_old_file_stays(pushed, asked, tmp_path, change):
    model = sabotaged(pushed, tmp_path / "sabotaged", change)
    output = tmp_path / "exports"
    output.mkdir()
    (output / "model.onnx").write_bytes(b"of an earlier export")
    [row] = export(model, ONNX, output, asked, [], SETTINGS).exports
    assert row.file is None and row.agreement < 0.9
    assert any(refusal.startswith("agreement ") for refusal in row.refusals)
    assert [path.name for path in output.iterdir()] == ["model.onnx"]
    assert (output / "model.onnx").read_bytes() == b"of an earlier export"


def test_stale_labels_are_refused(pushed, asked, tmp_path, monkeypatch):
    made = ONNX[0].convert

    def stale(model, metadata, *rest):
        made(model, metadata.model_copy(update={"label_names": LABELS[::-1]}), *rest)

    one = formats.ExportFormat("onnx", "model.onnx", stale, ONNX[0].bound_in)
    [row] = export(pushed, [one], tmp_path / "exports", asked, [], SETTINGS).exports
    assert row.refusals == ("its label names are not the model's",)
    assert not (tmp_path / "exports").exists()


def test_a_format_that_fails_leaves_the_others(pushed, asked, tmp_path):
    def fail(*_):
        raise RuntimeError("no such\noperation")

    broken = formats.ExportFormat("broken", "model.onnx", fail, ONNX[0].bound_in)
    found = export(pushed, [broken, *ONNX], tmp_path, asked, [], SETTINGS)
    assert list(found.refused) == ["broken"] and found.exports[0].size is None
    [refusal] = found.exports[0].refusals
    assert refusal.startswith("Model cannot be converted to broken (RuntimeError: no such operat")
    assert found.files == {"onnx": "model.onnx"} and (tmp_path / "model.onnx").is_file()


def test_a_model_of_an_older_version_is_one_line(pushed, asked, tmp_path):
    loaded = tf.saved_model.load(str(pushed))
    signatures = {"predict_images": loaded.signatures["predict_images"]}
    tf.saved_model.save(loaded, str(tmp_path / "old"), signatures=signatures)
    with pytest.raises(UserError, match="has no signature predict_pixels: an older version"):
        export(tmp_path / "old", ONNX, tmp_path / "exports", asked, [], SETTINGS)


def test_a_file_that_cannot_be_asked_is_one_line(tmp_path):
    write_pictures([encode_png(pictures(1, 8, 8)[0])], tmp_path / "pictures.zip")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"model\.onnx cannot be loaded") as caught:
        ask(tmp_path / "model.onnx", tmp_path / "pictures.zip", tmp_path)
    assert "\n" not in str(caught.value)


def test_labels_of_a_stale_file_are_told_by_the_number_of_classes(pushed, asked, tmp_path):
    export(pushed, ONNX, tmp_path, asked, [], SETTINGS)
    import onnx

    short = onnx.load(str(tmp_path / "model.onnx"))
    entry = short.metadata_props[0]
    entry.value = entry.value.replace('"ship"', "").replace(",]", "]").replace('"dog",', '"dog"')
    onnx.save(short, str(tmp_path / "short.onnx"))
    with pytest.raises(UserError, match="tells 3 classes apart, and its metadata name 2"):
        ExportedModel(tmp_path / "short.onnx").answer(asked.encoded[:1])
