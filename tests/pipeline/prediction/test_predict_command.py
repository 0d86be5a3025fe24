"""The command `predict`: what it writes where, and what its exit status says."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from inception_finetune.components.errors import ExitStatus


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "dark"
    folder.mkdir()
    for i, level in enumerate((0, 250, 10)):
        Image.new("RGB", (16, 16), (level,) * 3).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def predict(brightness_model, run_command):
    return lambda *arguments: run_command("predict", "--model", brightness_model, *arguments)


def test_a_table_with_what_is_right(predict, pictures, tmp_path):
    target = tmp_path / "out" / "grid.png"
    status, out, err = predict(pictures, "--save-grid", target)
    assert status == 0 and "2 of 3 right" in out
    assert out.count("2 dark") == 2 and out.count("0 [red]") == 1
    assert str(pictures / "1.png") in out  # not broken over lines, though 80 columns are less
    assert target.is_file() and "3 pictures: " in out
    assert "Predicting: 3 images" in err


def test_bad_files_are_rows_and_a_status(predict, pictures, tmp_path):
    (pictures / "3.png").write_bytes((pictures / "0.png").read_bytes()[:40])
    (pictures / "4.png").write_bytes(b"")
    (tmp_path / "list").write_text("none.png\ndark/2.png\n")
    target = tmp_path / "rows.jsonl"
    status, out, err = predict(pictures, "--list", tmp_path / "list", "--output", target)
    assert status == ExitStatus.UNREAD == 5
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["label"] for row in rows] == ["dark", "[red]", "dark", None, None, None, "dark"]
    assert [bool(row["error"]) for row in rows] == [False] * 3 + [True] * 3 + [False]
    assert rows[5]["picture"] == "none.png" and rows[6]["picture"] == "dark/2.png"
    assert out == "" and "3 of 4 right" in err
    assert "not read: 3 of 7 pictures could not be read, such as" in err


def test_standard_output_holds_rows_alone(predict, pictures):
    status, out, err = predict(pictures, "--format", "jsonl", "--top", "2")
    assert status == 0 and "2 of 3 right" in err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["truth"] for row in rows] == ["dark"] * 3 and "probability_2" in rows[0]
    assert "probability_3" not in rows[0]
    status, out, _ = predict(pictures, "--format=csv", "--top=99")
    lines = out.splitlines()
    assert lines[0].endswith("label_3,probability_3") and len(lines) == 4


def test_what_csv_changed_is_said(predict, pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    (pictures / "0.png").rename(pictures / "=0.png")
    status, out, err = predict("./=0.png", "=0.png", "--format=csv")
    assert status == 0 and [line.split(",")[0] for line in out.splitlines()[1:]] == [
        "./=0.png",
        "'=0.png",
    ]
    assert "1 texts are not as they were" in err


def test_wrong_usage_is_told_before_anything_is_loaded(predict, pictures, tmp_path):
    assert predict()[0] == 2
    status, _, err = predict(pictures, "--format", "parquet")
    assert status == 1 and "Give --output FILE" in err
    status, _, err = predict(pictures, "--output", tmp_path / "rows")
    assert status == 1 and "does not say in what format" in err
    assert predict(pictures, "--top", "0")[0] == 2


def test_a_list_on_standard_input_and_a_closed_pipe(brightness_model, pictures, tmp_path):
    """In a process of its own: the reader goes away, and what it has read is whole."""
    command = [sys.executable, "-m", "inception_finetune", "predict", "-", "--format", "jsonl"]
    command += ["--model", str(brightness_model)]
    (tmp_path / "list").write_text(f"{pictures / '0.png'}\n" * 3_000)  # more than a pipe holds
    with (
        (tmp_path / "list").open() as stdin,
        subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout and process.stderr
        first = json.loads(process.stdout.readline())
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(timeout=60) == 1
    assert first["picture"] == str(pictures / "0.png") and first["label"] == "dark"
    assert "Traceback" not in errors
