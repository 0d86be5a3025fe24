"""The step Export: what it writes of a model, and what it leaves out of sabotaged ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.types.experimental.simple_artifacts import File
from tfx.types.standard_artifacts import Examples, Model

from helpers.exporting import LABELS, pictures, push_model, sabotaged
from inception_finetune.components import features
from inception_finetune.components.backbone.module import fingerprint
from inception_finetune.components.dataset.png import encode_png
from inception_finetune.components.errors import UserError
from inception_finetune.components.export.component import Export
from inception_finetune.components.export.exported_file import open_exported_file
from inception_finetune.components.export.formats import FORMATS
from inception_finetune.components.export.record import read_record
from inception_finetune.components.export.settings import ExportSection, ExportSettings
from inception_finetune.components.io.record_index import COMPRESSION

TEST, TRAIN = pictures(30, 60, 45, seed=1), pictures(25, 32, 32, seed=5)


@pytest.fixture(scope="module")
def model(pushed, tmp_path_factory) -> Path:
    """A Model artifact."""
    artifact = tmp_path_factory.mktemp("model")
    (artifact / "Format-Serving").symlink_to(pushed)
    return artifact


@pytest.fixture(scope="module")
def test_and_train(pushed, tmp_path_factory) -> Path:
    """An Examples artifact, whose test pictures the model gets right."""
    artifact = tmp_path_factory.mktemp("examples")
    signature = tf.saved_model.load(str(pushed)).signatures["predict_images"]
    for split, shown in ((features.TEST, TEST), (features.TRAIN, TRAIN)):
        encoded = [encode_png(one) for one in shown]
        labels = signature(images=tf.constant(encoded))["label_id"].numpy()
        (artifact / f"Split-{split}").mkdir()
        place = artifact / f"Split-{split}" / "data.gz"
        with tf.io.TFRecordWriter(str(place), COMPRESSION) as writer:
            for picture, label in zip(encoded, labels, strict=True):
                example = tf.train.Example()
                feature = example.features.feature
                feature[features.IMAGE_ENCODED].bytes_list.value.append(picture)
                feature[features.LABEL].int64_list.value.append(int(label))
                writer.write(example.SerializeToString())
    return artifact


def run_step(test_and_train: Path, model: Path, target: Path, **settings) -> None:
    target.mkdir()
    section = ExportSection(**{"formats": tuple(FORMATS), "min_test_pictures": 30} | settings)
    artifacts = {"examples": Examples(), "model": Model(), "exports": File()}
    for (_, artifact), place in zip(
        artifacts.items(), (test_and_train, model, target), strict=True
    ):
        artifact.uri = str(place)
    chosen = ExportSettings(export=section, code_fingerprint="").model_dump_json()
    Export.EXECUTOR_SPEC.executor_class._FUNCTION(**artifacts, settings=chosen)


def convert_instead(monkeypatch, name: str, convert) -> None:
    """`convert` gets the format's own conversion, and what that would be given."""
    original = FORMATS[name].convert
    changed = replace(FORMATS[name], convert=lambda *given: convert(original, *given))
    monkeypatch.setitem(FORMATS, name, changed)


def test_what_passes_is_written_and_what_is_of_others_is_left_out(
    test_and_train, model, pushed, transform_output, tmp_path, monkeypatch, capsys
):
    other = push_model(transform_output, tmp_path / "other", seed=4)

    def stale(original, loaded, metadata, *rest):
        original(loaded, metadata.model_copy(update={"label_names": LABELS[::-1]}), *rest)

    def of_another(original, _, metadata, *rest):
        own = metadata.model_copy(update={"fingerprint": fingerprint(other)})
        original(tf.saved_model.load(str(other)), own, *rest)

    convert_instead(monkeypatch, "tflite-float16", stale)
    convert_instead(monkeypatch, "tflite-int8", of_another)
    run_step(test_and_train, model, tmp_path / "exports")
    record = read_record(tmp_path / "exports")
    assert {path.name for path in (tmp_path / "exports").iterdir()} == {
        "exports.json",
        "model-tfjs.zip",
        "model.onnx",
    }
    assert record.files == {"onnx": "model.onnx", "tfjs": "model-tfjs.zip"}
    assert record.fingerprint == fingerprint(pushed)
    assert (record.test_pictures, record.calibration_pictures) == (30, 25)
    assert (record.model.accuracy, record.model.name) == (1.0, "SavedModel")
    onnx, stale_row, other_row, _ = record.exports
    assert (onnx.accuracy, onnx.agreement, onnx.refusals) == (1.0, 1.0, ())
    assert onnx.size == (tmp_path / "exports/model.onnx").stat().st_size
    assert open_exported_file(tmp_path / "exports/model.onnx").metadata.label_names == LABELS
    assert "its label names are not the model's" in stale_row.refusals
    assert "its fingerprint is another model's" in other_row.refusals
    assert any(refusal.startswith("agreement 0.") for refusal in other_row.refusals)
    said = capsys.readouterr().err
    assert "export tflite-float16 refused: its label names are not the model's" in said
    assert "export tflite-int8 refused: its fingerprint is another model's" in said


def test_what_answers_otherwise_is_left_out_whatever_it_says_of_itself(
    test_and_train, model, pushed, transform_output, tmp_path, monkeypatch
):
    other = push_model(transform_output, tmp_path / "other", seed=4)
    swapped = sabotaged(pushed, tmp_path / "swapped", lambda pixels: pixels[..., ::-1])
    dark = sabotaged(pushed, tmp_path / "dark", lambda pixels: pixels // 255)
    for name, wrong in zip(FORMATS, (dark, swapped, other, swapped), strict=True):
        loaded = tf.saved_model.load(str(wrong))
        convert_instead(
            monkeypatch, name, lambda original, _, *rest, loaded=loaded: original(loaded, *rest)
        )
    run_step(test_and_train, model, tmp_path / "exports")
    record = read_record(tmp_path / "exports")
    assert [path.name for path in (tmp_path / "exports").iterdir()] == ["exports.json"]
    assert record.files == {} and list(record.refused) == list(FORMATS)
    for row in record.exports:
        assert row.agreement < 0.9
        assert not any("fingerprint" in one or "label names" in one for one in row.refusals)


def test_8_bits_are_calibrated_on_train_pictures_alone(
    test_and_train, model, tmp_path, monkeypatch
):
    given = []

    def observe(original, *arguments):
        given.extend(arguments[3])
        original(*arguments)

    convert_instead(monkeypatch, "tflite-int8", observe)
    loose = {"min_agreement": 0.0, "max_accuracy_loss": 0.99}
    run_step(
        test_and_train, model, tmp_path / "exports", formats=("tflite-int8",), tflite_int8=loose
    )
    assert len(given) == len(TRAIN)
    assert {one.tobytes() for one in given} == {one.tobytes() for one in TRAIN}
    assert np.isfinite(read_record(tmp_path / "exports").exports[0].difference)


def test_too_few_test_pictures_are_one_line(test_and_train, model, tmp_path):
    with pytest.raises(UserError, match=r"30 test pictures in .* fewer than .*=31") as caught:
        run_step(test_and_train, model, tmp_path / "exports", min_test_pictures=31)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "exports").iterdir())
