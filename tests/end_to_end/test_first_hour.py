"""The commands of docs/first-hour.md, in their order, on its folder made of the embedded digits."""

import csv
import io
import json

import pytest

from helpers.first_hour import make_pictures
from inception_finetune.components.dataset.digits import write_digits_archive

pytestmark = [pytest.mark.e2e, pytest.mark.review]

# The page's network is pretrained and sees 139 pixels, which takes minutes.
SMALL = (
    *("image.size=75", "training.epochs=null", "training.steps=20", "gate.min_accuracy=0.1"),
    *("backbone.trainable_from=head", "training.learning_rate=0.01"),
)


def test_from_a_folder_to_answers(run_command, standin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    make_pictures(
        write_digits_archive(tmp_path / "a.tar.gz"), tmp_path / "my-pictures", tmp_path / "new"
    )
    small = ("-c", "my-pictures.yaml", f"backbone.handle={standin}", *SMALL)

    status, out, err = run_command("init", "my-pictures")
    assert status == 0
    assert "Layout of my-pictures: class folders, 3 classes, no splits" in err
    rows = [line.split() for line in out.splitlines()]
    assert all([*row.split(), "100"] in rows for row in ("0 eight", "1 three", "2 zero"))
    assert "left out: three/IMG_0007.JPG: it is not a whole PNG or JPEG" in out
    assert "inception-finetune run -c my-pictures.yaml" in out

    status, out, err = run_command("data", "check", *small)
    assert status == 0
    assert "1 bad examples left out" in err and "99 WebP pictures stored as PNG" in err
    assert "1 picture turned upright, as EXIF's orientation has it" in err
    assert "300 images looked at" in [" ".join(line.split()) for line in out.splitlines()]
    check = tmp_path / "build/my-pictures/data-check"
    groups = [one["members"] for one in json.loads((check / "findings.json").read_text())["copies"]]
    assert ["three/000.png", "three/IMG_0042.JPG"] in groups  # a picture and its turned copy
    assert (check / "data.html").is_file()

    status, out, _ = run_command("run", *small)
    assert status == 0 and "blessed: accuracy" in out and "pushed: " in out

    status, out, _ = run_command("predict", *small, "new", "--format", "csv")
    assert status == 0
    answers = list(csv.DictReader(io.StringIO(out)))
    names = ["new/three0.png", "new/three1.png", "new/three2.png", "new/eight.jpg"]
    assert [one["picture"] for one in answers] == sorted(names)
    assert {one["label"] for one in answers} <= {"eight", "three", "zero"}
    assert all(one["error"] == "" and float(one["probability"]) > 1 / 3 for one in answers)
