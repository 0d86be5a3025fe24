"""A small network without pretraining: what fine-tuning is compared with."""

import tf_keras as keras

from components import features


def build_small_cnn(image_size: int, seed: int) -> keras.Model:
    """Two convolutions and a dense layer, `[B, S, S, 3] float32 in [-1, 1]` to `[B, 256]`.

    Of the kind that tutorials on CIFAR-10 begin with and that reaches about 67 % there; see the
    2017 article that this project started from.
    """
    seeds = iter(range(seed, seed + 3))

    def initializer() -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(next(seeds))

    image = keras.Input([image_size, image_size, features.CHANNELS])
    flow = image
    for _ in range(2):
        flow = keras.layers.Conv2D(
            64, 5, padding="same", activation="relu", kernel_initializer=initializer()
        )(flow)
        flow = keras.layers.MaxPooling2D(3, 2, padding="same")(flow)  # halves the side
    flow = keras.layers.Flatten()(flow)
    vector = keras.layers.Dense(256, activation="relu", kernel_initializer=initializer())(flow)
    return keras.Model(image, vector, name="small_cnn")
