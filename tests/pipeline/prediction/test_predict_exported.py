"""`predict --model FILE`: the rows of the SavedModel, by a process that never loads TensorFlow."""

import json
import subprocess
import sys

import pytest
import tensorflow as tf
from PIL import Image

from inception_finetune.components.errors import ExitStatus
from inception_finetune.components.evaluation.label_names import read_label_names
from inception_finetune.components.export.formats import FORMATS
from inception_finetune.components.export.metadata import ExportMetadata

# Ends with the names of all modules that were loaded, on the last line.
PROGRAM = """
import sys
from inception_finetune.pipeline.cli.main import main
try:
    main()
finally:
    print(" ".join(sorted(sys.modules)), file=sys.stderr)
"""
HEAVY = ("tensorflow", "tf_keras", "keras", "tfx", "apache_beam", "scipy", "sklearn", "pandas")


@pytest.fixture(scope="module")
def files(brightness_model, tmp_path_factory):
    folder, loaded = tmp_path_factory.mktemp("exports"), tf.saved_model.load(str(brightness_model))
    names = read_label_names(brightness_model)
    for name in ("onnx", "tflite-float16"):
        metadata = ExportMetadata(format=name, label_names=names, fingerprint="0")
        FORMATS[name].convert(loaded, metadata, folder / FORMATS[name].file_name, [])
    return {name: folder / FORMATS[name].file_name for name in ("onnx", "tflite-float16")}


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "dark"
    folder.mkdir()
    for i, level in enumerate((0, 250, 10)):
        Image.new("RGB", (16 + i, 16), (level,) * 3).save(folder / f"{i}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 70), (90, 130, 140)).save(folder / "4.jpg", exif=exif)
    Image.new("RGBA", (30, 70), (0, 0, 0, 90)).save(folder / "5.webp", lossless=True)
    (folder / "6.png").write_bytes((folder / "0.png").read_bytes()[:40])
    return folder


@pytest.mark.parametrize("name", ["onnx", "tflite-float16"])
def test_rows_are_those_of_the_savedmodel(files, brightness_model, pictures, run_command, name):
    arguments = [pictures, "--format", "jsonl"]
    status, out, _ = run_command("predict", "--model", brightness_model, *arguments)
    assert status == ExitStatus.UNREAD
    expected = [json.loads(line) for line in out.splitlines()]
    status, out, err = run_command("predict", "--model", files[name], *arguments)
    assert status == ExitStatus.UNREAD and "not read: 1 of 6 pictures" in err
    rows = [json.loads(line) for line in out.splitlines()]
    numbers = [key for key in expected[0] if key.startswith("probability")]
    for row, other in zip(rows, expected, strict=True):
        for key in numbers:
            assert row.pop(key) == (pytest.approx(other[key], abs=5e-3) if other[key] else None)
            other.pop(key)
        # Files say neither.
        assert (row["unknown"], row["prediction_set"]) == (None, None)
        assert row == other | {"unknown": None, "prediction_set": None}
    assert len({row["label"] for row in rows}) == 3


@pytest.mark.parametrize("name", ["onnx", "tflite-float16"])
def test_a_fresh_process_loads_no_framework(files, pictures, name):
    command = ["predict", "--model", files[name], pictures, "--format", "csv"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, command)], capture_output=True, text=True
    )
    assert done.stdout.count("\n") == 7 and done.returncode == ExitStatus.UNREAD
    modules = done.stderr.splitlines()[-1].split()
    assert {"numpy", "inception_finetune.components.export.exported_model"} <= set(modules)
    assert not set(HEAVY) & set(modules)


def test_a_grid_is_drawn_of_it(files, pictures, run_command, tmp_path):
    target = tmp_path / "grid.png"
    status, out, _ = run_command(
        "predict", "--model", files["onnx"], pictures / "0.png", "--save-grid", target
    )
    assert status == 0 and "1 of 1 right" in out and Image.open(target).width > 100


def test_what_does_not_go_with_a_file_is_one_line(files, pictures, run_command, tmp_path):
    for more in (["--on-beam", "--output", tmp_path / "out"], ["image.size=75"]):
        status, _, err = run_command("predict", "--model", files["onnx"], pictures, *more)
        assert status == 1 and "is asked by this process alone" in err and err.count("\n") == 1
    status, _, err = run_command("predict", "--model", tmp_path / "none.onnx", pictures)
    assert status == 1 and "No such file" in err and err.count("\n") == 1
