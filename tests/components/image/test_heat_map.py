"""Maps over pictures: where they lie, and how much of the picture they leave."""

import base64
import io

import numpy as np
from PIL import Image

from inception_finetune.components.image.heat_map import draw_over, overlay, overlay_address

WHOLE = np.array([0, 0, 1, 1], "f4")


def test_what_does_not_speak_for_the_class_stays_as_it_is_in_grey():
    values = np.zeros([4, 4], "f4")
    values[:, 2:] = 1
    red = Image.new("RGB", (40, 20), (200, 10, 10))
    drawn = np.asarray(draw_over(red, values, WHOLE)).astype(int)
    grey = np.asarray(red.convert("L"))[0, 0]
    assert (drawn[:, :10] == grey).all() and drawn.shape == (20, 40, 3)
    lit = drawn[:, 30:].reshape(-1, 3)
    assert (np.ptp(lit, axis=0) == 0).all()  # even where the map is
    assert lit[0, 0] > 180 and lit[0, 1] > grey + 80  # bright yellow


def test_the_map_covers_its_box_alone():
    picture = Image.new("RGB", (100, 50), (0, 0, 0))
    box = np.array([0.2, 0.1, 0.8, 0.9], "f4")  # top, left, bottom, right
    drawn = np.asarray(draw_over(picture, np.ones([3, 5], "f4"), box)).sum(axis=2)
    rows, columns = np.nonzero(drawn)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 39, 10, 89)


def test_more_covers_more_and_is_lighter():
    pixels = np.asarray(overlay(np.linspace(0, 1, 9, dtype="f4")[np.newaxis])).astype(int)[0]
    assert pixels[0, 3] == 0 and pixels[-1, 3] < 255
    assert (np.diff(pixels[:, 3]) > 0).all() and (np.diff(pixels[:, :3].sum(axis=1)) > 0).all()


def test_the_address_holds_a_pixel_for_each_value():
    kind, _, content = overlay_address(np.eye(7, dtype="f4")).partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert kind == "data:image/png;base64" and image.size == (7, 7) and image.mode == "RGBA"
    assert np.array_equal(np.asarray(image)[..., 3] > 0, np.eye(7) > 0)
