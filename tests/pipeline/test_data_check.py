"""`data check` finds planted faults in a folder of pictures, and writes what to correct."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from rich.console import Console
from scipy.ndimage import gaussian_filter

from inception_finetune.components.dataset.manifest import load_manifest
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.data_check import check_data_set, print_findings
from inception_finetune.pipeline.inputs import prepare_inputs

# 32 pixels and a network without pretraining: its features tell colours all the same.
_SMALL = (
    "backbone.network=scratch_cnn",
    "backbone.handle=standin",
    "backbone.trainable_from=all",
    "feature_cache=false",
    "image.size=32",
    "image.central_crop=1.0",
)
_EACH, _TESTS = 60, 15
_WRONG = (3, 4, 5, 6)  # blue ones among the red


def _pictures() -> dict[str, list[Image.Image]]:
    """Smooth patterns, each its own, in two colours."""
    random = np.random.default_rng(0)
    found = {}
    for name, colour in (("red", (1.0, 0.5, 0.4)), ("blue", (0.4, 0.5, 1.0))):
        noise = gaussian_filter(random.normal(size=(_EACH + _TESTS, 40, 40)), (0, 2.5, 2.5))
        levels = 140 + 80 * noise / np.abs(noise).max(axis=(1, 2), keepdims=True)
        images = levels[..., None] * np.array(colour)
        found[name] = [Image.fromarray(image.astype(np.uint8)) for image in images]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Red and blue pictures, of which four are mislabelled, one is copied and one is blank."""
    place = tmp_path_factory.mktemp("pictures")
    pictures = _pictures()
    for name, images in pictures.items():
        for split, part in (("train", images[:_EACH]), ("test", images[_EACH:])):
            (place / split / name).mkdir(parents=True)
            for number, image in enumerate(part):
                image.save(place / split / name / f"{number:02}.png")
    for number in _WRONG:
        pictures["blue"][number].save(place / "train" / "red" / f"wrong{number}.png")
        (place / "train" / "blue" / f"{number:02}.png").unlink()
    copied = ImageEnhance.Brightness(pictures["red"][_EACH]).enhance(0.9)
    copied.resize((48, 48)).save(place / "train" / "red" / "copy.jpg", quality=90)
    Image.new("L", (40, 40), 128).save(place / "train" / "blue" / "blank.png")
    return place


@pytest.fixture(scope="module")
def checked(folder, tmp_path_factory):
    """The check's result; it is made once."""
    root = tmp_path_factory.mktemp("root")
    config = load_config(None, [*_SMALL, f"dataset.archive={folder}", f"root={root}"])
    return check_data_set(config, None, 1000)


def test_planted_faults_are_found(checked, capsys):
    found = json.loads((checked.folder / "findings.json").read_text())
    assert found["images"] == found["total"] == 2 * (_EACH + _TESTS) + 2
    across = [set(one["members"]) for one in found["copies"] if one["across_test"]]
    assert any({"test/red/00.png", "train/red/copy.jpg"} <= members for members in across)
    wrong = {f"train/red/wrong{number}.png" for number in _WRONG}
    assert len(wrong & set(found["wrong_labels"])) >= 3
    assert found["likely_wrong"] <= 6
    assert found["unusual"]["blank"] == ["train/blue/blank.png"]
    assert found["precision"]["images"] == 2 * _TESTS
    print_findings(checked, Console())
    printed = capsys.readouterr().out
    assert f"{len(across)}  groups of copies in test and elsewhere" in printed
    assert f"page: {checked.folder / 'data.html'}" in printed


def test_what_is_found_is_listed_to_be_corrected(checked):
    with (checked.folder / "corrections.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows["train/red/copy.jpg"]["suggested"] == "remove"
    assert "of test" in rows["train/red/copy.jpg"]["reason"]
    assert rows["train/red/wrong3.png"]["suggested"] == "blue"
    assert rows["train/blue/blank.png"]["suggested"] == "remove"
    assert {row["correction"] for row in rows.values()} == {""}


def test_the_page_shows_the_pictures_and_loads_nothing(checked):
    page = (checked.folder / "data.html").read_text()
    assert 'alt="train/red/wrong3.png, red"' in page
    assert "http://" not in page
    assert "https://" not in page
    assert page.count('src="data:image/') == page.count("<img ") > 4


def test_a_folder_that_cannot_be_written_is_one_line(run_command, folder, checked, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, error = run_command(
        *("data", "check", *_SMALL, f"dataset.archive={folder}"),
        *(f"root={checked.folder.parent}", "--save", tmp_path / "file" / "in it"),
    )
    assert status == 1
    assert error.splitlines()[-1].startswith("error: Cannot write ")


def test_of_many_images_a_sample_is_looked_at(folder, checked):
    config = load_config(
        None, [*_SMALL, f"dataset.archive={folder}", f"root={checked.folder.parent}"]
    )
    some = check_data_set(config, checked.folder.parent / "sampled", 100).findings
    assert (some.images, some.total) == (100, checked.findings.total)
    assert sum(one.images for one in some.splits) == 100
    page = (checked.folder.parent / "sampled" / "data.html").read_text()
    assert f"100 images drawn at random from {some.total}" in page


def test_a_run_leaves_copies_of_test_images_out_or_refuses_them(folder, tmp_path, capsys):
    settings = [*_SMALL, f"dataset.archive={folder}", f"root={tmp_path}/root"]
    skipping = load_config(None, [*settings, "dataset.on_near_duplicate=skip"])
    inputs = prepare_inputs(skipping)
    manifest = load_manifest(Path(inputs.records))
    assert manifest.corrected["train/red/copy.jpg"] == (
        "left out: it shows the same as test/red/00.png"
    )
    assert manifest.counts["test"] == 2 * _TESTS
    assert sum(manifest.counts.values()) == 2 * (_EACH + _TESTS) + 2 - len(manifest.corrected)
    said = capsys.readouterr().err
    assert f"{len(manifest.corrected)} images of train and validation left out, which show" in said

    found = tmp_path / "root/near-duplicates.json"
    written = found.stat().st_mtime_ns
    assert prepare_inputs(skipping) == inputs
    assert found.stat().st_mtime_ns == written  # nothing was compared again
    with pytest.raises(UserError, match="such as .* and test/.*on_near_duplicate=skip"):
        prepare_inputs(load_config(None, [*settings, "dataset.on_near_duplicate=fail"]))
