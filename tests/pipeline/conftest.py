"""A small pushed model for all that asks one."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def brightness_model(transform_output, tmp_path_factory) -> Path:
    """Answers by the mean pixel: light, grey, dark; the names try rich's markup."""
    import tensorflow as tf
    import tf_keras as keras

    from inception_finetune.trainer import signatures

    class Brightness(keras.layers.Layer):
        def call(self, images):
            mean = tf.reduce_mean(images, axis=[1, 2, 3])
            return 10 * tf.stack([mean, tf.zeros_like(mean), -mean], axis=1)

    directory = tmp_path_factory.mktemp("pushed") / "1"
    image = keras.Input([75, 75, 3])
    vector = keras.layers.GlobalAveragePooling2D()(image)
    network = keras.Model(image, [vector, Brightness()(image)])
    labels = ("[red]", "[/]", "dark")
    signatures.export(
        signatures.ServingModel(network, transform_output, labels, central_crop=0.875),
        str(directory),
    )
    (directory / "assets.extra").mkdir()
    lines = "".join(f"{place}:{name}\n" for place, name in enumerate(labels))
    (directory / "assets.extra/labels.txt").write_text(lines)
    return directory
