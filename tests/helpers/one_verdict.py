"""Conversion, pages and drift look at the same pictures as the served graph does."""

import numpy as np
import tensorflow as tf

from inception_finetune.components.dataset.probe import decode_pixels, probe_image
from inception_finetune.components.drift import pictures
from inception_finetune.components.image import decoding
from inception_finetune.components.web_page.data_address import data_address

are_whole = tf.function(decoding.are_whole)


def one_verdict(files: list[bytes]) -> np.ndarray:
    """Asserts that all agree, and returns the verdict: ``[len(files)]`` bool, whole or not."""
    whole = are_whole(tf.constant(files)).numpy()
    probed = [not isinstance(probe_image(one), str) for one in files]
    np.testing.assert_array_equal(probed, whole)
    for one in (one for one, is_whole in zip(files, whole, strict=True) if is_whole):
        pixels = decode_pixels(one)
        assert data_address(one, 8).startswith("data:image/png;base64,")
        measured = pictures.measure([one], lambda n, note="": None)
        assert measured.readable.tolist() == [True]
        assert measured.statistics[0, :2].tolist() == [pixels.shape[1], pixels.shape[0]]
    refused = [one for one, is_whole in zip(files, whole, strict=True) if not is_whole]
    assert not pictures.measure(refused, lambda n, note="": None).readable.any()
    return whole
