"""`predict --explain`: a folder of PNG files, a page, and what is refused."""

import base64
import io
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from inception_finetune.components.errors import ExitStatus


@pytest.fixture
def pictures(tmp_path):
    """A picture whose left half is white and which is taken for [red]; a black one; a bad one."""
    folder = tmp_path / "dark"
    folder.mkdir()
    half = np.zeros([16, 32, 3], "u1")
    half[:, :20] = 255
    Image.fromarray(half).save(folder / "0 half.png")
    (folder / "1.png").write_bytes(b"no picture")
    Image.new("RGB", (16, 32)).save(folder / "2.png")
    return folder


@pytest.fixture
def predict(brightness_model, run_command):
    return lambda *arguments: run_command("predict", "--model", brightness_model, *arguments)


def test_a_folder_has_a_png_of_each_picture_that_can_be_read(predict, pictures, tmp_path):
    target = tmp_path / "maps" / "new"
    status, out, _ = predict(pictures, "--explain", target)
    assert status == ExitStatus.UNREAD and f"where the model looked: {target}" in out
    assert [path.name for path in sorted(target.iterdir())] == ["000001-0_half.png", "000003-2.png"]
    with Image.open(target / "000001-0_half.png") as image:
        drawn = np.asarray(image).astype(int)
    assert drawn.shape == (128, 256 + 8 + 256, 3)
    assert (drawn[:, :150] == 255).all() and (drawn[:, 170:256] == 0).all()
    over = drawn[:, 264:]
    is_lit = over[64, :, 0] - over[64, :, 2] > 60  # yellow
    assert is_lit[30:120].all() and not is_lit[200:].any()
    assert [path.name for path in target.parent.iterdir()] == ["new"]


def test_a_page_shows_mistakes_first_and_says_what_is_explained(predict, pictures, tmp_path):
    target = tmp_path / "looked.html"
    status, out, _ = predict(pictures, "--explain", target)
    assert status == ExitStatus.UNREAD and f"where the model looked: {target}" in out
    page = target.read_text()
    assert "3 pictures, 1 of 2 right, 1 not read" in page
    captions = re.findall(r"<figcaption><span.*?>(.*?), ([\d.]+) %(.*?)</span>", page)
    assert [(label, rest) for label, _, rest in captions] == [("[red]", ", not dark"), ("dark", "")]
    assert "what speaks for [red]" in page and "http" not in page
    contents = re.findall(r'src="data:image/png;base64,(.*?)"', page)
    sizes = [Image.open(io.BytesIO(base64.b64decode(one))).size for one in contents]
    assert sizes == [(520, 128), (264, 256)]


def test_what_is_there_is_not_replaced(predict, pictures, tmp_path):
    (tmp_path / "kept").mkdir()
    status, _, err = predict(pictures, "--explain", tmp_path / "kept")
    assert status == 1 and "is there already. Give another --explain" in err
    (tmp_path / "file").write_text("")
    for name in ("new", "looked.html"):
        status, out, err = predict(pictures, "--explain", tmp_path / "file" / name)
        assert status == 1 and "Cannot write" in err and "Traceback" not in err
        assert "half" not in out  # no picture was asked


def test_a_model_without_maps_is_refused_before_pictures_are_read(
    brightness_model, run_command, pictures, tmp_path
):
    model = tf.saved_model.load(str(brightness_model))
    older = tmp_path / "older"
    tf.saved_model.save(model, str(older), {"predict_images": model.signatures["predict_images"]})
    (older / "assets.extra").mkdir()
    labels = (brightness_model / "assets.extra/labels.txt").read_text()
    (older / "assets.extra/labels.txt").write_text(labels)
    target = tmp_path / "new"
    status, out, err = run_command("predict", "--model", older, pictures, "--explain", target)
    assert status == 1 and "has no signature explain_images" in err and not target.exists()
    assert "half" not in out


def test_exported_files_and_beam_do_not_explain(predict, run_command, pictures, tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"")
    for options in (["--model", file], ["--on-beam", "--output", tmp_path / "rows"]):
        status, _, err = run_command("predict", pictures, *options, "--explain", tmp_path / "new")
        assert status == 1 and "--explain" in err
