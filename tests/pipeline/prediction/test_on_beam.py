"""`predict --on-beam`: sharded rows that equal those of this process, whatever the engine does."""

import json

import pytest
import tensorflow as tf
from PIL import Image
from pyarrow import parquet

from inception_finetune.components.errors import ExitStatus, UserError
from inception_finetune.components.io.pushed_model import PushedModel
from inception_finetune.pipeline.beam_options import Beam
from inception_finetune.pipeline.prediction import on_beam
from inception_finetune.pipeline.prediction.addresses import PictureFile, find_pictures


@pytest.fixture
def pictures(tmp_path, examples):
    folder = tmp_path / "dark"
    folder.mkdir()
    for i in range(40):
        Image.new("RGB", (16, 16), (6 * i, 6 * i, 6 * i)).save(folder / f"{i:02d}.png")
    (folder / "bad.png").write_bytes(b"no picture")
    with tf.io.TFRecordWriter(str(tmp_path / "new.tfrecord")) as writer:
        for record in examples.serialized:
            writer.write(record)
    return folder


def rows_in(folder) -> dict[str, dict]:
    rows = [row for path in folder.iterdir() for row in parquet.read_table(path).to_pylist()]
    assert len(rows) == len({row["picture"] for row in rows})
    return {row["picture"]: row for row in rows}


@pytest.mark.parametrize(
    "engine", [[], ["beam.running_mode=multi_threading", "beam.parallelism=2"]]
)
def test_rows_equal_those_of_this_process(
    brightness_model, pictures, tmp_path, run_command, monkeypatch, engine
):
    monkeypatch.chdir(tmp_path)
    given = ["predict", "--model", brightness_model, "dark", "new.tfrecord", "--top=2"]
    assert run_command(*given, "--output", "here.parquet")[0] == ExitStatus.UNREAD
    status, out, err = run_command(*given, "--on-beam", "--output", "there", *engine)
    assert status == ExitStatus.UNREAD and out == ""
    assert "51 pictures: there" in err and "1 of 51 pictures could not be read, such as" in err
    here = {row["picture"]: row for row in parquet.read_table("here.parquet").to_pylist()}
    there = rows_in(tmp_path / "there")
    assert there.keys() == here.keys() and len(there) == 51
    for name, row in here.items():
        other = there[name]
        for column in ("probability", "probability_2"):
            assert other.pop(column) == pytest.approx(row.pop(column), abs=1e-6)
        assert other == row
    assert {path.name for path in tmp_path.iterdir()} >= {"dark", "here.parquet", "there"}
    assert not list(tmp_path.glob(".there-*"))


def test_what_is_there_is_not_replaced(brightness_model, pictures, tmp_path, run_command):
    status, _, err = run_command(
        "predict", "--model", brightness_model, pictures, "--on-beam", "--output", pictures
    )
    assert status == 1 and "is there already" in err
    assert len(list(pictures.iterdir())) == 41
    for wrong in (["--format=csv", "--output=x"], [], ["--output=x", "--save-grid=g.png"]):
        status, _, err = run_command("predict", pictures, "--on-beam", *wrong)
        assert status == 1 and "Give --output DIR" in err


def test_lost_rows_and_failing_workers_leave_nothing(
    brightness_model, pictures, tmp_path, monkeypatch
):
    model = PushedModel(brightness_model)
    run, target = on_beam._run, tmp_path / "out"

    def lose_one(listing, *arguments):
        lines = listing.read_text().splitlines(keepends=True)
        assert PictureFile(*json.loads(lines[0])).location == str(pictures / "00.png")
        listing.write_text("".join(lines[1:]))
        run(listing, *arguments)

    monkeypatch.setattr(on_beam, "_run", lose_one)
    with pytest.raises(UserError, match="41 files are listed, and 40 rows were written"):
        on_beam.predict_on_beam(find_pictures([pictures]), model, target, top=1, settings=Beam())
    assert not target.exists() and not list(tmp_path.glob(".out-*"))
    monkeypatch.setattr(on_beam, "_run", run)
    model.directory = tmp_path / "gone"
    with pytest.raises(UserError, match="Class names are missing"):
        on_beam.predict_on_beam(find_pictures([pictures]), model, target, top=1, settings=Beam())
    assert not target.exists() and not list(tmp_path.glob(".out-*"))
