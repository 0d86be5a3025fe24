"""The picture of what training shows."""

import numpy as np
import pytest
from PIL import Image

from inception_finetune.components.image.settings import Augmentation, TrainViews
from inception_finetune.components.image.view_grid import view_grid

SIDE, STEP = 20, 24  # pixels of an image, and from one to the next


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, [3, SIDE, SIDE, 3]).astype(np.float32)


def cell(grid: np.ndarray, row: int, column: int) -> np.ndarray:
    return grid[row * STEP :, column * STEP :][:SIDE, :SIDE]


def test_each_row_has_the_image_as_it_is_served_and_then_its_views(images):
    grid = view_grid(images, TrainViews(views=("flip_left_right",), random_views=1), seed=0)
    assert grid.shape == (2 * STEP + SIDE, 2 * STEP + SIDE, 3) and grid.dtype == np.uint8
    for row, image in enumerate(images):
        served = np.round((image + 1) * 127.5).astype(np.uint8)
        np.testing.assert_array_equal(cell(grid, row, 0), served)
        np.testing.assert_array_equal(cell(grid, row, 1), served[:, ::-1])
        assert not np.array_equal(cell(grid, row, 2), served)
    assert (grid[SIDE:STEP] == 255).all()


def test_of_many_views_the_last_are_shown_each_drawn_by_itself(images):
    erase = Augmentation(crop_area=1, flip=0, brightness=0, contrast=0, saturation=0, erase=1)
    views = TrainViews(random_views=30, augmentation=erase)
    grid = view_grid(images, views, seed=0)
    assert grid.shape[1] == 8 * STEP + SIDE
    shown = {cell(grid, 0, column).tobytes() for column in range(9)}
    assert len(shown) == 9
    np.testing.assert_array_equal(grid, view_grid(images, views, seed=0))


def test_data_show_draws_it(run_command, tmp_path):
    target = tmp_path / "views.png"
    status, output, errors = run_command(
        "data",
        "show",
        *("--config", "digits", "--picture", str(tmp_path / "samples.png")),
        *("--augmented", str(target), "image.random_views=2"),
    )
    assert status == 0, errors
    assert f"views: {target}" in output
    with Image.open(target) as picture:
        assert picture.width > 400 and picture.height > 800
