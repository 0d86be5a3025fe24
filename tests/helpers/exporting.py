"""A small pushed model that sees colours and places, and the same model sabotaged."""

import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

from inception_finetune.components import features
from inception_finetune.trainer import signatures

LABELS = ("cat", "dog", "ship")
SIZE = 75


def push_model(transform, directory: Path, seed: int = 3) -> Path:
    """Convolutions with weights that are drawn once, so that no two colours count alike."""
    keras.utils.set_random_seed(seed)
    image = keras.Input([SIZE, SIZE, 3])
    flow = keras.layers.Conv2D(16, 5, strides=3, activation="relu")(image)
    flow = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(flow)
    vector = keras.layers.Flatten()(flow)
    head = keras.layers.Dense(len(LABELS), kernel_initializer=keras.initializers.RandomNormal(0, 1))
    network = keras.Model(image, [vector, head(vector)])
    model = signatures.ServingModel(network, transform, LABELS, central_crop=0.875)
    signatures.export(model, str(directory))
    (directory / features.EXTRA_ASSETS).mkdir()
    name_labels(directory, LABELS)
    return directory


def name_labels(directory: Path, names) -> None:
    lines = "".join(f"{place}:{name}\n" for place, name in enumerate(names))
    (directory / features.EXTRA_ASSETS / features.LABELS_FILE).write_text(lines)


def sabotaged(directory: Path, target: Path, change) -> Path:
    """The same model; what is converted of it gets pixels that `change` has changed."""
    loaded = tf.saved_model.load(str(directory))
    whole = dict(loaded.signatures)
    specification = tf.TensorSpec([None, None, None, 3], tf.uint8, features.PIXELS)

    @tf.function(input_signature=[specification])
    def changed(pixels):
        return whole[features.PREDICT_PIXELS](pixels=change(pixels))

    loaded.changed = changed
    tf.saved_model.save(loaded, str(target), signatures={**whole, features.PREDICT_PIXELS: changed})
    shutil.copytree(directory / features.EXTRA_ASSETS, target / features.EXTRA_ASSETS)
    return target


def pictures(count: int, *sides: int, seed: int = 0) -> list[np.ndarray]:
    """Coloured, lit from one side, with noise: no two alike, and no channel like another."""
    random = np.random.default_rng(seed)
    light = np.linspace(0, 1, sides[1])[np.newaxis, :, np.newaxis]
    made = []
    for _ in range(count):
        colours = random.uniform(0, 255, [2, 1, 1, 3])
        flat = colours[0] * light + colours[1] * (1 - light)
        noise = random.normal(0, 25, (*sides, 3))
        made.append(np.clip(flat + noise, 0, 255).astype(np.uint8))
    return made
