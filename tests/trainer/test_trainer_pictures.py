import io

import numpy as np
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins import projector

from inception_finetune.trainer import pictures
from inception_finetune.trainer.tensorboard import SPRITE_SIDE, write_projector

NAMES = ["cat", "dog", "owl"]


def grey(*levels: float) -> np.ndarray:
    """Constant images [N, 10, 10, 3] in [-1, 1]."""
    return np.ones([len(levels), 10, 10, 3], np.float32) * np.array(levels)[:, None, None, None]


def test_the_sprite_holds_every_image_row_by_row():
    square = pictures.sprite(pictures.thumbnails(grey(-1, 0, 1), 8))
    assert square.shape == (16, 16, 3)
    assert [square[y, x, 0] for y, x in ((4, 4), (4, 12), (12, 4), (12, 12))] == [0, 128, 255, 0]


def test_a_wrong_prediction_is_written_in_red():
    def reddish(predictions: list[int]) -> int:
        pixels = pictures.predictions_picture(
            grey(0, 0), np.array([0, 1]), np.array(predictions), NAMES
        ).astype(int)
        return int(((pixels[..., 0] - pixels[..., 1]) > 100).sum())

    assert reddish([0, 1]) == 0 < reddish([0, 2])


def test_the_confusion_matrix_colours_what_was_confused():
    def blue(labels: list[int], predictions: list[int]) -> np.ndarray:
        picture = pictures.confusion_matrix_picture(
            np.array(labels), np.array(predictions), NAMES
        ).astype(int)
        return (picture[..., 2] - picture[..., 0]) > 60

    right, wrong = blue([0, 1, 2], [0, 1, 2]), blue([0, 1, 2], [1, 2, 0])
    bar = right & wrong  # the colours' legend and nothing else
    assert (right & ~bar).sum() > 3000 and (wrong & ~bar).sum() > 3000


def test_the_projector_finds_vectors_labels_and_sprite(tmp_path):
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    rows = [("cat", "cat"), ("dog", "owl"), ("a\tb", "dog")]
    small = pictures.thumbnails(grey(-1, 0, 1), SPRITE_SIDE)
    write_projector(str(tmp_path), vectors, small, rows)
    config = projector.ProjectorConfig()
    text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), config)
    [embedding] = config.embeddings
    found = np.fromfile(tmp_path / embedding.tensor_path, "<f4").reshape(embedding.tensor_shape)
    np.testing.assert_array_equal(found, vectors)
    lines = (tmp_path / embedding.metadata_path).read_text().splitlines()
    assert lines == ["label\tpredicted", "cat\tcat", "dog\towl", '"a\tb"\tdog']
    image = Image.open(io.BytesIO((tmp_path / embedding.sprite.image_path).read_bytes()))
    assert image.size == (2 * SPRITE_SIDE, 2 * SPRITE_SIDE)
    assert list(embedding.sprite.single_image_dim) == [SPRITE_SIDE, SPRITE_SIDE]


def test_names_with_dollars_are_no_formulas():
    names, labels = [r"$\frac{$", "$5", "owl"], np.array([0, 1])
    for predictions in (labels, 1 - labels):
        assert pictures.predictions_picture(grey(0, 0), labels, predictions, names).any()
        assert pictures.confusion_matrix_picture(labels, predictions, names).any()
