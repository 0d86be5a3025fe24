"""What holds for every network of the registry: its table is all that the pipeline knows of it."""

import hashlib
import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from inception_finetune.components import features
from inception_finetune.components.backbone import cut
from inception_finetune.components.backbone.keras_network import (
    build_network,
    fill,
    named_variables,
)
from inception_finetune.components.backbone.load import (
    differences,
    load_backbone,
    probe_images,
)
from inception_finetune.components.backbone.network import ALL, HEAD, sizes
from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.backbone.standin import make_standin
from inception_finetune.components.errors import UserError
from inception_finetune.components.trunk_features.trunk import fold_trunk
from inception_finetune.trainer import model, signatures
from inception_finetune.trainer.checkpoints import Checkpoints
from inception_finetune.trainer.optimizers import parameter_groups
from inception_finetune.trainer.settings import Training
from inception_finetune.trainer.step import TrainingStep

# Of the variables that TF-Slim's own code makes (github.com/tensorflow/models, research/slim/nets),
# without Logits and AuxLogits and in its order: how many, their parameters, and the sha256 of
# lines "name height, width, …".
TF_SLIM = {
    "inception_v1": (
        *(228, 5_607_184),
        "be286a5c375fb3bfa922abe674c114a52e16c368520fd153e189eaaab82f7853",
    ),
    "inception_v2": (
        *(275, 10_173_112),
        "640817e138fd90327088e0a5a65c45c2de06873bd5246062be9bc68cecdc33c5",
    ),
    "inception_v3": (
        *(376, 21_802_784),
        "9bb14ccdb3350b9ec4510fd2103995111c41662c575ca202c46ffb133842d338",
    ),
    "inception_v4": (
        *(596, 41_174_400),
        "f60ac1b7e43c59962d1bc498354f8c176f60ed5f81f0e71f4fac3fc0cff4b1ab",
    ),
    "inception_resnet_v2": (
        *(896, 54_336_736),
        "fc43c89e4d66669e27a55fbcd587f7addd20db71fafccdc69f6db319f7a631e5",
    ),
}


@pytest.fixture(scope="module", params=NETWORKS)
def backbone(request):
    return NETWORKS[request.param]


@pytest.fixture(scope="module")
def loaded(backbone, tmp_path_factory):
    """A stand-in, written and read."""
    directory = tmp_path_factory.mktemp(backbone.name) / "module"
    make_standin(directory, seed=0, network=backbone.name)
    return load_backbone(directory, image_size=backbone.smallest_size)


@pytest.fixture(scope="module")
def images(backbone):
    return probe_images(backbone.smallest_size, 4) * 2 - 1


@pytest.fixture(scope="module")
def outputs(backbone, loaded, images):
    """Of every block, for two images; and the feature vectors."""
    network = loaded.network
    ends = [network.get_layer(block.name).output for block in backbone.blocks]
    *found, vectors = keras.Model(network.input, [*ends, network.output])(images[:2])
    named = {block.name: value for block, value in zip(backbone.blocks, found, strict=True)}
    return named, vectors.numpy()


@pytest.mark.parametrize("name", TF_SLIM)
def test_variables_are_those_of_tf_slim(name):
    variables = NETWORKS[name].variables(NETWORKS[name].native_size)
    lines = "".join(f"{name} {', '.join(map(str, shape))}\n" for name, shape in variables)
    found = (
        len(variables),
        sum(math.prod(shape) for _, shape in variables),
        hashlib.sha256(lines.encode()).hexdigest(),
    )
    assert found == TF_SLIM[name]


def test_it_works_at_its_smallest_size_and_not_below(backbone):
    def last(size):
        return min(min(value) for value in sizes(backbone, size).values())

    assert last(backbone.smallest_size) >= 1
    if backbone.blocks[0].branches[0][0].padding == "VALID":
        assert last(backbone.smallest_size - 1) < 1
    with pytest.raises(UserError, match=f"at least {backbone.smallest_size} pixels"):
        make_standin("unused", seed=0, network=backbone.name, image_size=backbone.smallest_size - 1)


def test_a_module_is_written_recognised_and_reproduced(loaded, backbone):
    assert loaded.backbone is backbone
    # Float32 rounds differently by processor: what the network itself shows of that, run eagerly
    # and as a graph, is all that is allowed beyond 1e-5.
    images = probe_images(loaded.probe_size) * 2 - 1
    graph = tf.function(lambda batch: loaded.network(batch, training=False))
    eager = loaded.network(images, training=False).numpy()
    rounding, _ = differences(graph(tf.constant(images)).numpy(), eager)
    assert loaded.relative_difference <= max(1e-5, 2 * rounding)
    assert loaded.network.output_shape == (None, backbone.features)


def test_the_random_network_tells_pictures_apart(outputs):
    _, vectors = outputs
    assert 0.1 < vectors.std() < 10
    assert np.abs(vectors[0] - vectors[1]).max() > 0.05


def test_shapes_are_those_of_the_table(backbone, outputs):
    values, _ = outputs
    expected = sizes(backbone, backbone.smallest_size)
    assert {name: tuple(value.shape[1:]) for name, value in values.items()} == expected


def test_the_upper_part_continues_from_every_block(backbone, loaded, outputs):
    values, vectors = outputs
    before = "stem"
    for block in backbone.trainable_from[: -len((HEAD, ALL))]:
        trunk, upper = cut.split(backbone, loaded.network, block)
        assert trunk.output_shape[1:] == values[before].shape[1:]
        found = upper(values[before], training=False).numpy()
        assert np.abs(found - vectors).max() <= 1e-4 * np.abs(vectors).max(), block
        before = block


def test_the_folded_trunk_is_keras_trunk_at_every_cut(backbone, loaded, images, outputs):
    values, vectors = outputs
    found = fold_trunk(backbone, loaded.network, HEAD, tf.float32)(images[:2]).numpy()
    assert np.abs(found - vectors).max() <= 1e-4 * np.abs(vectors).max()
    for first, last in ((1, 0), (len(backbone.blocks) // 2, len(backbone.blocks) // 2 - 1)):
        trunk = fold_trunk(backbone, loaded.network, backbone.blocks[first].name, tf.float32)
        expected = values[backbone.blocks[last].name].numpy()
        assert np.abs(trunk(images[:2]) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_in_bfloat16_the_trunk_stays_close_at_the_first_cut(backbone, loaded, images, outputs):
    first = backbone.blocks[1].name
    exact = outputs[0]["stem"].numpy()
    rounded = fold_trunk(backbone, loaded.network, first, tf.bfloat16)(images[:2])
    assert rounded.dtype == tf.bfloat16
    error = np.linalg.norm(rounded.numpy().astype(np.float32) - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.03


@pytest.mark.parametrize("place", ["first", "middle", HEAD, ALL])
def test_the_report_counts_what_lies_before_the_cut_as_frozen(backbone, loaded, place):
    blocks = [block.name for block in backbone.blocks]
    first = {"first": blocks[1], "middle": blocks[len(blocks) // 2]}.get(place, place)
    rows = cut.variable_report(backbone, *cut.split(backbone, loaded.network, first))
    assert [row[:2] for row in rows] == backbone.variables(backbone.smallest_size)
    frozen = {row.name for row in rows if row.state == "frozen"}
    expected = set()
    for block in backbone.blocks_before(first):
        scopes = [scope for scope in backbone.convolutions if in_block(backbone, block, scope)]
        expected |= {
            f"{s}/{suffix}" for s in scopes for suffix in backbone.convolutions[s].suffixes
        }
    assert frozen == expected
    if place == ALL:
        assert not frozen


def in_block(backbone, block, scope) -> bool:
    """By the names alone; blocks without a scope of their own name their convolutions."""
    inner = scope.removeprefix(backbone.scope)
    if block.scope:
        return inner.startswith(block.scope)
    return inner in {step.name for step in block.branches[0] if hasattr(step, "filters")}


def test_a_fresh_start_is_he_normal_and_leaves_the_trunk(backbone, loaded):
    block = backbone.blocks[-1].name
    trunk, upper = cut.split(backbone, loaded.network, block)
    before, frozen = upper.get_weights(), trunk.get_weights()
    try:
        cut.reinitialize(backbone, upper, seed=3)
        assert all(np.array_equal(a, b) for a, b in zip(frozen, trunk.get_weights(), strict=True))
        for name, variable in named_variables(backbone, upper).items():
            value = variable.numpy()
            if name.endswith("weights"):
                deviation = np.sqrt(2 / np.prod(value.shape[:3]))
                assert value.std() == pytest.approx(deviation, rel=0.05)
            else:
                assert np.all(value == (1 if name.endswith("variance") else 0))
    finally:
        upper.set_weights(before)


@pytest.fixture
def classifier(backbone, loaded):
    """Of three classes, the last block and the head trained; what a test does to it is undone."""
    weights = loaded.network.get_weights()
    last = backbone.blocks[-1].name
    training = Training(epochs=1, batch_size=4, learning_rate=1e-3)
    yield model.build_classifier(
        backbone, loaded.network, last, classes=3, fresh=False, training=training
    )
    loaded.network.set_weights(weights)


def test_a_resumed_training_is_one_that_was_not_interrupted(backbone, classifier, images, tmp_path):
    training = Training(epochs=1, batch_size=4, learning_rate=1e-3)
    trainee = model.prepare_training(classifier, "float32", from_features=True)
    groups = parameter_groups(training, trainee, backbone, total_steps=3)
    step = TrainingStep(trainee, training, groups)
    weights = {"network": trainee.network}
    checkpoints = Checkpoints(str(tmp_path), weights, optimizers=step.optimizers)
    batch = classifier.trunk(images), tf.one_hot([0, 1, 2, 0], 3)
    step.train(batch, 0)
    checkpoints.save(1)
    saved = trainee.network.get_weights()
    step.train(batch, 1)
    expected = trainee.network.get_weights()
    assert checkpoints.restore() == 1
    assert all(map(np.array_equal, saved, trainee.network.get_weights()))
    step.train(batch, 1)
    assert all(map(np.array_equal, expected, trainee.network.get_weights()))
    assert any(not np.array_equal(*pair) for pair in zip(saved, expected, strict=True))


def test_the_exported_model_answers_as_the_network(
    backbone, classifier, transform_at, examples, tmp_path
):
    size = backbone.smallest_size
    serving = signatures.ServingModel(
        classifier.embedding, transform_at(size), ["a", "b", "c"], central_crop=0.875
    )
    signatures.export(serving, str(tmp_path / "model"))
    exported = tf.saved_model.load(str(tmp_path / "model")).signatures
    # The examples are of one grey each, in [0, 255].
    greys = np.array(examples.levels, np.float32)[:, None, None, None] / 127.5 - 1
    images = np.broadcast_to(greys, [len(greys), size, size, 3])
    vectors, logits = classifier.embedding(images, training=False)
    answer = exported["serving_default"](examples=tf.constant(examples.serialized))
    np.testing.assert_allclose(
        answer[features.PROBABILITIES], tf.nn.softmax(logits), rtol=1e-3, atol=1e-5
    )
    embedded = exported["embed_images"](images=tf.constant(examples.encoded))
    np.testing.assert_allclose(embedded[features.EMBEDDING], vectors, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("inception_v3", keras.applications.InceptionV3),
        ("inception_resnet_v2", keras.applications.InceptionResNetV2),
    ],
)
def test_it_is_the_network_of_keras_applications(name, reference):
    theirs = reference(weights=None, include_top=False, pooling="avg", input_shape=(75, 75, 3))
    generator = np.random.default_rng(0)
    for weight in theirs.weights:
        if "kernel" in weight.name:
            weight.assign(
                generator.normal(size=weight.shape) * np.sqrt(2 / np.prod(weight.shape[:-1]))
            )
        elif "variance" in weight.name:
            weight.assign(generator.uniform(0.8, 1.2, weight.shape))
        else:
            weight.assign(generator.normal(size=weight.shape) * 0.1)
    backbone = NETWORKS[name]
    ours = build_network(backbone, 75)
    fill(backbone, ours, by_slim_name(backbone, theirs))
    images = probe_images(75, 2) * 2 - 1
    expected = theirs(images, training=False).numpy()
    found = ours(images, training=False).numpy()
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def by_slim_name(backbone, network) -> dict[str, np.ndarray]:
    """Keras numbers layers as it makes them, in TF-Slim's order, but for those that it names."""

    def numbered(kind):
        layers = [one for one in network.layers if isinstance(one, kind)]
        layers = [one for one in layers if one.name.startswith(("conv2d", "batch_norm"))]
        return iter(sorted(layers, key=lambda one: (len(one.name), one.name)))

    kernels, statistics = numbered(keras.layers.Conv2D), numbered(keras.layers.BatchNormalization)
    counts = (("block35", 10), ("block17", 20), ("block8", 10))
    projections = (f"{block}_{n + 1}_conv" for block, count in counts for n in range(count))
    values = {}
    for scope, convolution in backbone.convolutions.items():
        if convolution.has_bias:
            layers = [network.get_layer(next(projections))]
        elif scope.endswith("Conv2d_7b_1x1"):
            layers = [network.get_layer("conv_7b"), network.get_layer("conv_7b_bn")]
        else:
            layers = [next(kernels), next(statistics)]
        arrays = [array for layer in layers for array in layer.get_weights()]
        values |= {f"{scope}/{s}": a for s, a in zip(convolution.suffixes, arrays, strict=True)}
    return values
