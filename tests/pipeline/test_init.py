"""`init` writes a configuration that suits the pictures, and that the other commands read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.made_pictures import write_folder
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.data_set import convert_dataset


@pytest.fixture
def init(run_command, monkeypatch, tmp_path):
    """Calls the command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return run_command("init", *arguments)

    return call


def _large_pictures(folder: Path, **counts: int) -> None:
    random = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 255, (150, 200, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")


def test_small_pictures_with_splits(init, tmp_path):
    write_folder(tmp_path / "My Pets")
    status, printed, _ = init("My Pets")
    assert status == 0
    config = load_config("my-pets.yaml")
    assert (config.name, config.root) == ("my-pets", "build/my-pets")
    assert config.dataset.archive == "My Pets"
    assert (config.image.size, config.image.central_crop) == (139, 1.0)
    assert (config.training.epochs, config.training.batch_size) == (15, 16)
    assert config.dataset.on_bad_example == "fail"
    assert config.gate.min_accuracy == 0.9
    assert "inception-finetune run -c my-pets.yaml" in printed
    assert "test_fraction" not in Path("my-pets.yaml").read_text()
    assert convert_dataset(config, tmp_path / "records").counts["test"] == 6


def test_large_pictures_without_splits_some_of_them_bad(init, tmp_path):
    _large_pictures(tmp_path / "birds", crow=40, owl=10, wren=12)
    (tmp_path / "birds/owl/bad.jpg").write_bytes(b"\xff\xd8 no picture")
    status, printed, _ = init("birds", "-o", "sub/first.yaml")
    assert status == 0
    text = Path("sub/first.yaml").read_text()
    config = load_config("sub/first.yaml")
    assert (config.image.size, config.image.central_crop) == (299, 0.875)
    assert config.dataset.on_bad_example == "skip"
    assert config.dataset.test_fraction == 0.1
    assert config.gate.min_accuracy == 0.8
    assert "40 pictures of crow, 10 of owl" in text
    assert "A run takes some" in printed
    assert "birds/owl/bad.jpg" in printed or "owl/bad.jpg" in printed


def test_a_picture_in_test_and_train_is_left_out_of_train(init, tmp_path):
    folder = write_folder(tmp_path / "pets")
    shutil.copy(folder / "test/cat/0.png", folder / "train/cat/copy.png")
    assert init("pets")[0] == 0
    config = load_config("pets.yaml")
    assert config.dataset.on_leakage == "skip"
    assert len(convert_dataset(config, tmp_path / "records").skipped) == 1


def test_a_file_is_replaced_only_by_force(init, tmp_path):
    write_folder(tmp_path / "pets")
    Path("pets.yaml").write_text("name: mine\n")
    status, _, error = init("pets")
    assert status == 1
    assert error.startswith("error: pets.yaml is there already.")
    assert Path("pets.yaml").read_text() == "name: mine\n"
    assert init("pets", "--force")[0] == 0
    assert load_config("pets.yaml").name == "pets"


@pytest.mark.parametrize("name", ['it\'s 100 % "x": y', "ß # no comment", "-", "{{ 1 }}"])
def test_odd_names_are_read_back_as_they_are(init, tmp_path, name):
    write_folder(tmp_path / name)
    assert init(f"./{name}", "-o", "a.yaml")[0] == 0
    assert load_config("a.yaml").dataset.archive == f"./{name}"


def test_named_columns_are_written(init, tmp_path):
    folder = write_folder(tmp_path / "pets")
    rows = [(path, path.parent.name) for path in sorted((folder / "train").rglob("*.png"))]
    text = "".join(f"{path.relative_to(tmp_path)},{name},0\n" for path, name in rows)
    Path("pets.csv").write_text(f"wo,was: genau,label\n{text}")
    status, printed, _ = init("pets.csv", "--image-column", "wo", "--label-column", "was: genau")
    assert status == 0 and "0 cat" in printed and "1 dog" in printed
    config = load_config("pets.yaml")
    assert config.dataset.columns == ("wo", "was: genau")
    assert convert_dataset(config, tmp_path / "records").label_names == ("cat", "dog")
    status, _, error = init("pets.csv", "--label-column", "x", "-o", "b.yaml")
    assert status == 1 and not Path("b.yaml").exists()
    assert "pets.csv has no column 'x', but wo, was: genau, label. Set dataset.label_col" in error


def test_no_pictures_are_one_line(init, tmp_path):
    (tmp_path / "empty").mkdir()
    status, _, error = init("empty")
    assert status == 1
    assert error.splitlines()[-1].startswith("error:")
    assert not Path("empty.yaml").exists()
