"""The rows that `predict` writes: the same in every form, whole or not at all, safe to show."""

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.prediction import output
from inception_finetune.pipeline.prediction.formats import Format, chosen_format
from inception_finetune.pipeline.prediction.output import TableWriter, writing
from inception_finetune.pipeline.prediction.pictures import Picture
from inception_finetune.pipeline.prediction.predict import Prediction

NAMES = ("cat", "dog", "=owl")
ODD = 'a\x1b[2J\n\u202e,".png'
BYTES = os.fsdecode(b"caf\xe9.png")


def prediction(name: str, *shares: float, truth: str | None = None, error: str = "") -> Prediction:
    return Prediction(Picture(name, b"", truth), NAMES, np.array(shares, np.float32), error)


def unsure(one: Prediction, *names: str) -> Prediction:
    return replace(one, prediction_set=names, unknown=True)


ROWS = [
    unsure(prediction("shots/dog/1.png", 0.1, 0.7, 0.2, truth="dog"), "dog", "=owl"),
    prediction(ODD, 0, 0, 0, error="it is damaged"),
    prediction(BYTES, 1 / 3, 0, 2 / 3),
    prediction("-4+4.png", 1, 0, 0),
]


def written(form: Format, target, top: int = 2) -> int:
    with writing(form, target, top) as writer:
        for row in ROWS:
            writer.write([row])
    return writer.changed


def test_json_lines_keep_names_and_show_nothing_unprintable(tmp_path):
    assert written(Format.JSONL, tmp_path / "a.jsonl") == 0
    text = (tmp_path / "a.jsonl").read_text("utf-8")
    lines = text.splitlines()
    assert len(lines) == 4 and all(line.isprintable() for line in lines)
    rows = [json.loads(line) for line in lines]
    assert rows[0] == {
        "picture": "shots/dog/1.png",
        "truth": "dog",
        "error": None,
        "label_id": 1,
        "label": "dog",
        "probability": 0.7,
        "unknown": True,
        "prediction_set": ["dog", "=owl"],
        "label_2": "=owl",
        "probability_2": 0.2,
    }
    assert rows[2]["unknown"] is rows[2]["prediction_set"] is None  # this model does not say
    assert rows[1] == dict.fromkeys(rows[0]) | {"picture": ODD, "error": "it is damaged"}
    assert rows[2]["picture"] == BYTES
    assert np.float32(rows[2]["probability"]) == np.float32(2 / 3)


def test_csv_is_safe_for_terminals_and_spreadsheets_and_says_what_it_changed(tmp_path):
    assert written(Format.CSV, tmp_path / "a.csv") == 5
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text("utf-8").splitlines()))
    assert [row["picture"] for row in rows] == [
        "shots/dog/1.png",
        'a\\x1b[2J\\n\\u202e,".png',
        "caf\\udce9.png",
        "'-4+4.png",
    ]
    assert (rows[0]["label"], rows[0]["label_2"], rows[2]["label"]) == ("dog", "'=owl", "'=owl")
    assert (rows[0]["probability"], rows[0]["label_id"], rows[0]["error"]) == ("0.7", "1", "")
    assert (rows[0]["unknown"], rows[0]["prediction_set"]) == ("True", '["dog", "=owl"]')
    assert (rows[2]["unknown"], rows[2]["prediction_set"]) == ("", "")
    assert (rows[1]["label"], rows[1]["label_id"], rows[1]["error"]) == ("", "", "it is damaged")


def test_parquet_has_types_and_groups_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "_GROUP_ROWS", 3)
    assert written(Format.PARQUET, tmp_path / "a.parquet") == 1
    file = parquet.ParquetFile(tmp_path / "a.parquet")
    assert file.num_row_groups == 2
    rows = file.read().to_pylist()
    assert [row["picture"] for row in rows] == [
        "shots/dog/1.png",
        ODD,
        "caf\\udce9.png",
        "-4+4.png",
    ]
    assert [row["label_id"] for row in rows] == [1, None, 2, 0]
    assert np.float32(rows[2]["probability"]) == np.float32(2 / 3)
    kinds = {field.name: str(field.type) for field in file.schema_arrow}
    assert kinds["unknown"] == "bool" and kinds["prediction_set"].startswith("list<")
    assert rows[0]["unknown"] and rows[0]["prediction_set"] == ["dog", "=owl"]
    assert kinds["label_id"] == "int32" and kinds["probability_2"] == "float"


@pytest.mark.parametrize("form", [Format.JSONL, Format.CSV, Format.PARQUET])
def test_a_file_is_there_whole_or_not_at_all(tmp_path, form):
    target = tmp_path / "out" / "rows"
    target.parent.mkdir()
    target.write_text("older")
    with pytest.raises(UserError, match="the model does not answer"), writing(form, target, 1) as w:
        w.write(ROWS)
        raise UserError("the model does not answer")
    assert target.read_text() == "older" and list(target.parent.iterdir()) == [target]
    written(form, target)
    assert target.stat().st_size > 100 and list(target.parent.iterdir()) == [target]
    link = tmp_path / "link"
    link.symlink_to(target)
    written(form, link, top=1)
    assert link.is_symlink()
    with pytest.raises(UserError, match="is not a plain file"):
        written(form, tmp_path / "out")
    with pytest.raises(UserError, match="Cannot write .*below: .*"):
        written(form, target / "below")


def test_a_device_is_not_replaced():
    with pytest.raises(UserError, match="/dev/null is not a plain file"):
        written(Format.CSV, Path("/dev/null"))
    assert not Path("/dev/null").is_file()


def table(rows, width: int | None, top: int = 2) -> list[str]:
    stream = io.StringIO()
    writer = TableWriter(stream, top, width)
    writer.write(rows)
    writer.finish()
    return stream.getvalue().splitlines()


LONG = "/shots/" + "x" * 300 + "/photo-of-a-dog.png"


def test_names_are_not_broken_where_there_is_no_terminal():
    lines = table([*ROWS, prediction(LONG, 1, 0, 0)], None)
    assert any(LONG in line for line in lines)
    assert len(lines) == 3 + 5 + 1
    assert any(r'a\x1b[2J\n\u202e,".png' in line and "not read" in line for line in lines)
    assert any("dog 0.700, =owl 0.200" in line and "1 dog, or unknown" in line for line in lines)
    assert sum("unknown" in line for line in lines) == 1


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_names_lose_their_middle_on_a_narrow_terminal(width):
    lines = table([prediction(LONG, 0.5, 0.25, 0.25, truth="dog")], width)
    assert all(len(line) <= width for line in lines)
    [name] = [line.split()[1] for line in lines if "/" in line]
    assert "…" in name and name.startswith("/sho") and name.endswith("dog.png")


def test_tables_are_of_a_bounded_number_of_rows(monkeypatch):
    monkeypatch.setattr(output, "_TABLE_ROWS", 3)
    lines = table(ROWS * 2, None)
    assert sum("probabilities" in line for line in lines) == 3
    assert sum(".png" in line for line in lines) == 8


def test_names_are_no_markup():
    names = ("[red]", "[/]")
    one = Prediction(Picture("[b]:cat:.png", b"", "[/]"), names, np.array([0.9, 0.1], np.float32))
    text = "\n".join(table([one], None))
    assert "[b]:cat:.png" in text and "0 [red]" in text and "[red] 0.900, [/] 0.100" in text


def test_the_format_is_the_files_where_it_is_not_given():
    assert chosen_format(None, None) is Format.TABLE
    assert chosen_format(None, Path("a.CSV")) is Format.CSV
    assert chosen_format(Format.JSONL, Path("a.csv")) is Format.JSONL
    for wrong in ("a.table", "a", "a.json"):
        with pytest.raises(UserError, match="does not say in what format"):
            chosen_format(None, Path(wrong))
    with pytest.raises(UserError, match="Give --output FILE"):
        chosen_format(Format.PARQUET, None)
