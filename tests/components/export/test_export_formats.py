"""Each format: its answers, its size, and what it says of itself."""

import zipfile
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from helpers.exporting import LABELS, pictures
from inception_finetune.components import features
from inception_finetune.components.errors import UserError
from inception_finetune.components.export import tflite_int8
from inception_finetune.components.export.exported_file import (
    is_exported_file,
    open_exported_file,
)
from inception_finetune.components.export.formats import FORMATS, chosen_formats
from inception_finetune.components.export.settings import FormatName
from inception_finetune.components.export.tflite_int8 import convert_int8

TOLERANCE = {"onnx": 1e-5, "tflite-float16": 0.03, "tflite-int8": 0.25, "tfjs": 1e-5}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("sides", [(32, 32), (75, 75), (200, 131), (1, 3)])
@pytest.mark.parametrize("count", [1, 3])
def test_pictures_of_any_size_get_the_models_answer(pushed, exports, name, sides, count):
    signature = tf.saved_model.load(str(pushed)).signatures[features.PREDICT_PIXELS]
    batch = np.stack(pictures(count, *sides))
    expected = signature(pixels=tf.constant(batch))[features.PROBABILITIES].numpy()
    opened = open_exported_file(exports / FORMATS[name].file_name)
    answer = opened.probabilities(batch)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, expected, atol=TOLERANCE[name])


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_says_what_it_takes_and_what_it_answers(exports, name):
    metadata = open_exported_file(exports / FORMATS[name].file_name).metadata
    assert (metadata.format, metadata.label_names) == (name, LABELS)
    assert (metadata.layout, metadata.value_range) == ("NHWC, RGB, uint8", (0, 255))
    assert metadata.fingerprint == "5" * 64


def test_fewer_bits_take_less_room(exports):
    of = {name: (exports / one.file_name).stat().st_size for name, one in FORMATS.items()}
    assert of["onnx"] > 1.5 * of["tflite-float16"] > 1.5 * of["tflite-int8"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_one_line(exports, tmp_path, name):
    whole = (exports / FORMATS[name].file_name).read_bytes()
    damaged = tmp_path / FORMATS[name].file_name
    for content in (b"", b"no model", whole[: len(whole) // 2]):
        damaged.write_bytes(content)
        with pytest.raises(UserError, match=r"(cannot be loaded|No label names)") as caught:
            open_exported_file(damaged)
        assert "\n" not in str(caught.value) and str(damaged) in str(caught.value)
    with pytest.raises(UserError, match="No such file"):
        open_exported_file(tmp_path / "none.onnx")


def test_a_file_of_others_has_no_label_names(exports, tmp_path):
    import onnx

    bare = onnx.load(str(exports / "model.onnx"))
    del bare.metadata_props[:]
    onnx.save(bare, str(tmp_path / "bare.onnx"))
    with pytest.raises(UserError, match=r"No label names in .*bare\.onnx.*`inception-finetune exp"):
        open_exported_file(tmp_path / "bare.onnx")


def test_an_operation_that_reads_files_is_refused(exports, tmp_path):
    hostile = tmp_path / "model-tfjs.zip"
    with zipfile.ZipFile(exports / hostile.name) as whole, zipfile.ZipFile(hostile, "w") as changed:
        for name in whole.namelist():
            content = whole.read(name)
            changed.writestr(name, content.replace(b'"op": "Softmax"', b'"op": "ReadFile"'))
    with pytest.raises(UserError, match=r"operations that no network needs: \['ReadFile'\]"):
        open_exported_file(hostile)


def test_first_convolutions_and_head_stay_in_float32_as_far_as_they_are_small(monkeypatch):
    """A chain of two, then a fork, then a head; names are those of the operations' outputs."""
    import tf_keras as keras

    image = keras.Input([24, 24, 3])
    flow = keras.layers.Conv2D(4, 3, name="first")(image)  # 108 weights
    flow = keras.layers.Conv2D(8, 3, name="second")(flow)  # 288
    fork = [keras.layers.Conv2D(16, 3, name=name)(flow) for name in ("left", "right")]  # 1,152 each
    flow = keras.layers.GlobalAveragePooling2D()(keras.layers.Concatenate()(fork))
    logits = keras.layers.Dense(6, name="head")(flow)  # 192
    model = keras.Model(image, keras.layers.Softmax()(logits))
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()

    def kept(share: float) -> list[str]:
        monkeypatch.setattr(tflite_int8, "_FLOAT_SHARE", share)
        found = tflite_int8.float_nodes(content)
        names = ("first", "second", "left", "right", "head")
        return [name for node in found for name in names if f"/{name}/" in node]

    total = 108 + 288 + 2 * 1152 + 192
    assert kept(0.5) == ["first", "second", "head"]
    assert kept(395 / total) == ["first", "head"]
    assert kept(191 / total) == ["first"]
    assert kept(100 / total) == []


def test_ranges_are_not_measured_on_nothing(tmp_path):
    with pytest.raises(UserError, match="No train pictures for tflite-int8"):
        convert_int8(None, None, tmp_path / "file", [])


def test_formats_are_known_by_name_and_suffix(tmp_path):
    assert get_args(FormatName) == tuple(FORMATS)
    assert [one.name for one in chosen_formats("tflite-int8, onnx,onnx")] == ["tflite-int8", "onnx"]
    with pytest.raises(UserError, match="Format 'coreml' of --format is unknown. Name some of onn"):
        chosen_formats("onnx,coreml")
    assert is_exported_file(tmp_path / "a.ONNX") and is_exported_file(tmp_path / "a.tflite")
    assert not is_exported_file(tmp_path / "1") and not is_exported_file(tmp_path / "a.pb")
