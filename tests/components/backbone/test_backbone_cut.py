"""The cut: both parts together are the network, and only the upper one is trained."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from inception_finetune.components.backbone import cut
from inception_finetune.components.backbone.keras_network import build_network, fill, scoped_layers
from inception_finetune.components.backbone.load import checkpoint_arrays, probe_images
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.components.errors import UserError

BLOCKS = [block.name for block in INCEPTION_V3.blocks[1:]]


@pytest.fixture(scope="module")
def filled(request):
    network = build_network(INCEPTION_V3, 75)
    fill(INCEPTION_V3, network, dict(checkpoint_arrays(request.getfixturevalue("standin"))))
    return network, network.get_weights()


@pytest.fixture
def network(filled):
    """The stand-in's network; what a test does to it is undone."""
    network, weights = filled
    yield network
    network.trainable = True
    network.set_weights(weights)


@pytest.fixture(scope="module")
def images():
    return probe_images(75, 4) * 2 - 1


# Height, width and channels where a block begins, at 75 pixels: Szegedy et al. 2015, table 1,
# with TF-Slim's Mixed_5b's three 35x35 blocks and without padding in the stem.
SHAPES = {
    "Mixed_5b": (7, 7, 192),
    "Mixed_5c": (7, 7, 256),
    "Mixed_5d": (7, 7, 288),
    "Mixed_6a": (7, 7, 288),
    "Mixed_6b": (3, 3, 768),
    "Mixed_6c": (3, 3, 768),
    "Mixed_6d": (3, 3, 768),
    "Mixed_6e": (3, 3, 768),
    "Mixed_7a": (3, 3, 768),
    "Mixed_7b": (1, 1, 1280),
    "Mixed_7c": (1, 1, 2048),
}


@pytest.mark.parametrize("block", BLOCKS)
def test_upper_after_trunk_is_the_network(network, images, block):
    trunk, upper = cut.split(INCEPTION_V3, network, block)
    features = trunk(images[:2])
    assert features.shape[1:] == SHAPES[block]
    np.testing.assert_allclose(upper(features), network(images[:2]), rtol=1e-6, atol=1e-6)


def test_head_freezes_all_and_all_freezes_nothing(network):
    trunk, upper = cut.split(INCEPTION_V3, network, "head")
    assert upper is None
    assert trunk is network
    assert trunk.trainable_variables == []
    trunk, upper = cut.split(INCEPTION_V3, network, "all")
    assert trunk is None
    assert upper is network
    assert len(upper.trainable_variables) == 188


def test_unknown_block(network):
    with pytest.raises(
        UserError, match="is Mixed_8a, which InceptionV3 does not have: .* one of Mixed_5b, "
    ):
        cut.split(INCEPTION_V3, network, "Mixed_8a")


@pytest.mark.parametrize("trainable_from", INCEPTION_V3.trainable_from)
def test_report_counts_what_lies_before_the_cut_as_frozen(network, trainable_from):
    rows = cut.variable_report(INCEPTION_V3, *cut.split(INCEPTION_V3, network, trainable_from))
    order = ["stem", *BLOCKS, "head"]
    first = 0 if trainable_from == "all" else order.index(trainable_from)
    for row in rows:
        block = row.name.split("/")[1]
        place = order.index(block if block in BLOCKS else "stem")
        expected = "trained" if place >= first else "frozen"
        assert row.state == expected, row
    assert sum(row.parameters for row in rows) == 21_802_784


def test_report_text(network):
    head = keras.Sequential([keras.layers.Dense(10, name="logits")], name="head")
    head.build((None, 2048))
    rows = cut.variable_report(INCEPTION_V3, *cut.split(INCEPTION_V3, network, "Mixed_7a"), head)
    lines = cut.render_report(rows).splitlines()
    assert lines[0] == "InceptionV3/Conv2d_1a_3x3/weights 3, 3, 3, 32 frozen"
    assert "InceptionV3/Mixed_7a/Branch_0/Conv2d_0a_1x1/weights 1, 1, 768, 192 trained" in lines
    assert lines[376:] == [
        "head/logits/kernel 2048, 10 trained",
        "head/logits/bias 10 trained",
        "# frozen: 280 variables, 8,975,264 parameters",
        "# trained: 98 variables, 12,848,010 parameters",
    ]


def moving_statistics(model):
    return {
        variable.name: variable.numpy()
        for variable in model.variables
        if "/moving_" in variable.name
    }


def test_a_training_step_changes_the_trained_blocks_alone(network, images):
    trunk, upper = cut.split(INCEPTION_V3, network, "Mixed_7a")
    frozen = trunk.get_weights()
    statistics, kernel = moving_statistics(upper), upper.trainable_variables[0].numpy()
    assert len(statistics) == 48
    model = keras.Sequential([trunk, upper, keras.layers.Dense(3)])
    optimizer = keras.optimizers.SGD(0.1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(images, training=True) ** 2)
    variables = model.trainable_variables
    assert len(variables) == 48 + 2
    gradients = tape.gradient(loss, variables)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(frozen, trunk.get_weights(), strict=True))
    after = moving_statistics(upper)
    assert all(np.any(after[name] != statistics[name]) for name in statistics)
    assert np.any(upper.trainable_variables[0].numpy() != kernel)


def test_frozen_blocks_do_not_see_the_neighbours_and_trained_ones_do(network, images):
    trunk, upper = cut.split(INCEPTION_V3, network, "Mixed_7a")
    together, alone = trunk(images, training=True), trunk(images[:1], training=True)
    np.testing.assert_allclose(together[:1], alone, rtol=1e-4, atol=1e-4)
    in_training = upper(together, training=True)[:1] - upper(together[:2], training=True)[:1]
    assert np.abs(in_training).max() > 0.1
    in_inference = upper(together)[:1] - upper(together[:2])[:1]
    assert np.abs(in_inference).max() < 1e-4


def test_splitting_again_thaws(network):
    cut.split(INCEPTION_V3, network, "head")
    trunk, upper = cut.split(INCEPTION_V3, network, "Mixed_6e")
    assert trunk.trainable_variables == []
    assert len(upper.trainable_variables) == 68


def test_reinitialize_changes_the_upper_blocks_alone(network):
    trunk, upper = cut.split(INCEPTION_V3, network, "Mixed_7b")
    frozen = trunk.get_weights()
    cut.reinitialize(INCEPTION_V3, upper, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(frozen, trunk.get_weights(), strict=True))
    values = {variable.name: variable.numpy() for variable in upper.variables}
    for name, value in values.items():
        if "kernel" in name:
            fan_in = np.prod(value.shape[:3])
            assert value.std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.02)
        else:
            assert np.all(value == (1 if "variance" in name else 0))
    kernels = [value for name, value in values.items() if "kernel" in name]
    assert len({kernel.flat[0] for kernel in kernels}) == len(kernels) == 18
    again = upper.get_weights()
    cut.reinitialize(INCEPTION_V3, upper, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(again, upper.get_weights(), strict=True))
    cut.reinitialize(INCEPTION_V3, upper, seed=4)
    assert np.any(again[0] != upper.get_weights()[0])


def last_layer(network) -> list[np.ndarray]:
    last = scoped_layers(INCEPTION_V3, [network])[-1]
    return [variable.numpy() for variable in last.variables.values()]


def test_reinitialize_does_not_depend_on_the_cut(network):
    _, upper = cut.split(INCEPTION_V3, network, "Mixed_7b")
    cut.reinitialize(INCEPTION_V3, upper, seed=3)
    last = last_layer(network)
    _, upper = cut.split(INCEPTION_V3, network, "Mixed_7c")
    cut.reinitialize(INCEPTION_V3, upper, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(last, last_layer(network), strict=True))


def test_a_cut_below_the_first_trained_block_freezes_what_lies_between(network, images):
    whole = network(images, training=False)
    _, alone = cut.split(INCEPTION_V3, network, "Mixed_7c")
    expected = {variable.name for variable in alone.trainable_variables}
    trunk, upper = cut.split(INCEPTION_V3, network, "Mixed_7c", cut_before="Mixed_7a")
    assert trunk.output_shape == (None, *SHAPES["Mixed_7a"]) and not trunk.trainable_variables
    assert {variable.name for variable in upper.trainable_variables} == expected
    np.testing.assert_allclose(upper(trunk(images), training=False), whole, rtol=1e-4, atol=1e-5)
    assert not cut.split(INCEPTION_V3, network, "head", cut_before="Mixed_7a")[
        1
    ].trainable_variables


def test_a_fresh_start_leaves_what_lies_between_as_it_was(network):
    _, upper = cut.split(INCEPTION_V3, network, "Mixed_7c", cut_before="Mixed_7a")
    before = {variable.name: variable.numpy() for variable in upper.weights}
    cut.reinitialize(INCEPTION_V3, upper, seed=1)
    _, alone = cut.split(INCEPTION_V3, network, "Mixed_7c")
    kernels = {v.name for v in alone.weights if "kernel" in v.name}
    changed = {v.name for v in upper.weights if not np.array_equal(v, before[v.name])}
    assert kernels <= changed <= {variable.name for variable in alone.weights}
