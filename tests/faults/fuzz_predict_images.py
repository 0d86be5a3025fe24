"""Feeds predict_images with what a coverage-guided fuzzer makes of pictures.

    python fuzz_predict_images.py MODEL -runs=N -seed=S CORPUS

TensorFlow's decoders are compiled without coverage. What guides the fuzzer are Pillow's parsers of
PNG and JPEG, which are Python: each input goes to Pillow, for its branches, and then to the model.
"""

import io
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import atheris

with atheris.instrument_imports(include=["PIL"]):
    from PIL import Image, JpegImagePlugin, PngImagePlugin  # noqa: F401

import numpy as np
import tensorflow as tf

GOOD = io.BytesIO()
Image.new("RGB", (8, 8), (250, 120, 10)).save(GOOD, "PNG")
model = tf.saved_model.load(sys.argv.pop(1))
predict_images = model.signatures["predict_images"]
alone = {
    key: value[0] for key, value in predict_images(images=tf.constant([GOOD.getvalue()])).items()
}
answered = {"fine": 0, "refused": 0}


def try_one(data: bytes) -> None:
    """Raises AssertionError where the answer is none of the two that are defined."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            image.verify()
    except Exception:  # Pillow is here for its branches alone
        pass
    answer = predict_images(images=tf.constant([data, GOOD.getvalue()]))
    answer = {key: value.numpy() for key, value in answer.items()}
    for key, value in answer.items():
        if value.dtype == np.float32:
            np.testing.assert_allclose(value[1], alone[key], atol=1e-5, err_msg=key)
        else:
            assert value[1] == alone[key].numpy(), key
    probabilities, label = answer["probabilities"][0], answer["label_id"][0]
    if answer["error"][0]:
        assert label == -1 and not probabilities.any() and answer["label_name"][0] == b""
        answered["refused"] += 1
    else:
        assert label == probabilities.argmax() and abs(probabilities.sum() - 1) < 1e-5
        answered["fine"] += 1
    tried = sum(answered.values())
    if tried % 100 == 0:  # the fuzzer leaves by itself, without running what stands behind it
        print(f"tried {tried}: {answered['fine']} fine, {answered['refused']} refused", flush=True)


atheris.Setup(sys.argv, try_one)
atheris.Fuzz()
