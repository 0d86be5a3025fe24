"""Modules of every age fill the same Keras network; what does not fit is refused by name."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from inception_finetune.components.backbone import forward, load
from inception_finetune.components.backbone.keras_network import build_network
from inception_finetune.components.backbone.module import fingerprint
from inception_finetune.components.backbone.module_function import ModuleFunction, find_function
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.components.errors import UserError

TF1_SIZE = 80  # pixels, fixed


@pytest.fixture(scope="module")
def backbone(request):
    return load.load_backbone(request.getfixturevalue("standin"), image_size=75)


@pytest.fixture(scope="module")
def module(request):
    return tf.saved_model.load(str(request.getfixturevalue("standin")))


def test_keras_reproduces_the_module(backbone, standin):
    assert backbone.relative_difference <= 1e-5
    assert backbone.fingerprint == fingerprint(standin)
    assert backbone.variables == tuple(INCEPTION_V3.variables(75))
    assert (backbone.image_size, backbone.probe_size) == (75, 75)
    assert backbone.network.input_shape == (None, 75, 75, 3)
    assert backbone.network.output_shape == (None, 2048)


def test_keras_agrees_on_other_images_than_the_probes(backbone, module):
    images = np.random.default_rng(9).random((3, 75, 75, 3), np.float32)
    answer = backbone.network(images * 2 - 1, training=False).numpy()
    assert load.differences(answer, module(images).numpy())[0] <= 1e-5


def test_batch_norm_settings(backbone):
    import tf_keras as keras

    layers = [
        layer
        for layer in backbone.network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(layers) == 94
    assert {(layer.epsilon, layer.scale) for layer in layers} == {(1e-3, False)}


def test_the_seam_between_the_pixel_ranges(backbone, module):
    """The module takes [0, 1], Keras [-1, 1]: the same pixels in both are far apart."""
    images = load.probe_images(75)
    reference = module(images).numpy()
    right = load.differences(backbone.network(images * 2 - 1).numpy(), reference)[0]
    wrong = load.differences(backbone.network(images).numpy(), reference)[0]
    assert right <= 1e-5
    assert wrong > 0.05


def as_function(call):
    return ModuleFunction(call, None, None, "a/module", 2048)


@pytest.mark.parametrize(
    ("scale", "offset", "name"), [(1, 0, r"\[-1, 1\]"), (2 / 255, -1, r"\[0, 255\]")]
)
def test_module_with_another_pixel_range_is_named(backbone, scale, offset, name):
    function = as_function(lambda images: backbone.network(images * scale + offset))
    with pytest.raises(
        UserError, match=rf"a/module wants pixels in {name}, .* takes pixels in \[0, 1\]"
    ):
        load.check(function, backbone.network, 75, "a/module")


def test_module_that_answers_otherwise_is_refused(backbone):
    function = as_function(lambda images: backbone.network(images * 2 - 1) * (1 + 2e-4))
    with pytest.raises(UserError, match=r"a/module differs .* by 0\.0002 .*relative 0\.0001"):
        load.check(function, backbone.network, 75, "a/module")


def test_module_that_answers_nan_is_refused(backbone):
    function = as_function(lambda images: np.full((len(images), 2048), np.nan))
    with pytest.raises(UserError, match="differs from Keras' "):
        load.check(function, backbone.network, 75, "a/module")


def test_classifier_is_refused(backbone):
    with pytest.raises(UserError, match=r"a/module gives \[1001\] numbers an image, not 2048"):
        as_function(lambda images: np.zeros((2, 1001)))(np.zeros((2, 75, 75, 3)))


def listed(change, prefix=""):
    """A module that lists variables, after a change to their shapes by name."""
    shapes = dict(INCEPTION_V3.variables(75))
    change(shapes)
    return SimpleNamespace(
        variables=[
            SimpleNamespace(name=f"{prefix}{name}:0", numpy=lambda shape=shape: np.zeros(shape))
            for name, shape in shapes.items()
        ]
    )


FIRST = "InceptionV3/Conv2d_1a_3x3/weights"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.pop(FIRST), rf"1 missing: {FIRST} \[3, 3, 3, 32\]"),
        (
            lambda s: s.update({"InceptionV3/Logits/Conv2d_1c_1x1/biases": (1001,)}),
            r"1 surplus: InceptionV3/Logits/Conv2d_1c_1x1/biases \[1001\]",
        ),
        (
            lambda s: s.update({FIRST: (3, 3, 1, 32)}),
            rf"1 misshapen: {FIRST} \[3, 3, 1, 32\] instead of \[3, 3, 3, 32\]",
        ),
    ],
)
def test_variables_that_do_not_fit(change, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        load.module_values(INCEPTION_V3, 75, listed(change, prefix="module/"), "a/module")
    assert "\n" not in str(caught.value)


def test_two_networks_in_one_module_are_refused():
    both = listed(lambda s: None).variables + listed(lambda s: None, prefix="copy/").variables
    with pytest.raises(UserError, match=f"{FIRST} twice"):
        load.module_values(INCEPTION_V3, 75, SimpleNamespace(variables=both), "a/module")


def test_counters_are_not_parameters(standin):
    module = listed(lambda shapes: shapes.update({"global_step": ()}))
    assert set(load.module_values(INCEPTION_V3, 75, module, standin)) == set(
        dict(INCEPTION_V3.variables(75))
    )


def test_variables_from_the_checkpoint_of_a_module_that_lists_none(standin, module):
    values = load.module_values(INCEPTION_V3, 75, SimpleNamespace(), standin)
    listed = {variable.name.removesuffix(":0"): variable for variable in module.variables}
    assert values.keys() == listed.keys()
    assert np.array_equal(values[FIRST], listed[FIRST].numpy())


@pytest.fixture(scope="module")
def tf1_module(request, tmp_path_factory):
    """As TF-Slim exported to the first TF-Hub format: graph mode, reference variables, a prefix,
    two graphs with tags {} and {"train"}, a signature, a fixed size; variables in another order."""
    arrays = dict(load.checkpoint_arrays(request.getfixturevalue("standin")))
    arrays.pop("save_counter")
    names = sorted(arrays, reverse=True)
    directory = tmp_path_factory.mktemp("tf1") / "module"
    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(str(directory))
    for is_training in (False, True):
        with tf.Graph().as_default(), v1.Session() as session:
            with v1.variable_scope("module"):
                created = {
                    name: v1.get_variable(
                        name,
                        arrays[name].shape,
                        initializer=v1.zeros_initializer,
                        use_resource=False,
                    )
                    for name in names
                }
                images = v1.placeholder(tf.float32, [None, TF1_SIZE, TF1_SIZE, 3])

                def convolve(scope, convolution, value, created=created):
                    beta, mean, variance = (
                        created[f"{scope}/BatchNorm/{name}"]
                        for name in ("beta", "moving_mean", "moving_variance")
                    )
                    value = forward.convolve(value, [created[f"{scope}/weights"]], convolution)
                    value, _, _ = v1.nn.fused_batch_norm(
                        value,
                        tf.ones_like(beta),
                        beta,
                        mean,
                        variance,
                        epsilon=1e-3,
                        is_training=False,
                    )
                    return tf.nn.relu(value)

                scaled = tf.subtract(tf.multiply(images, 2.0), 1.0)
                last = forward.run_blocks(INCEPTION_V3, INCEPTION_V3.blocks, scaled, convolve)
                features = forward.global_average(last)
            signature = v1.saved_model.predict_signature_def(
                {"images": images}, {"default": features}
            )
            if is_training:
                builder.add_meta_graph(["train"], signature_def_map={"default": signature})
            else:
                initializers = {name: variable.initializer for name, variable in created.items()}
                fed = {op.inputs[1]: arrays[name] for name, op in initializers.items()}
                session.run(list(initializers.values()), fed)
                builder.add_meta_graph_and_variables(
                    session, [], signature_def_map={"default": signature}
                )
    builder.save()
    (directory / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return directory


def test_tf1_module_of_a_fixed_size_with_prefix_and_another_order(tf1_module, backbone):
    loaded = load.load_backbone(tf1_module, image_size=75)
    assert loaded.probe_size == TF1_SIZE
    assert loaded.relative_difference <= 1e-5
    ours, theirs = backbone.network.get_weights(), loaded.network.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_tf1_checkpoint_is_read_by_its_names(tf1_module, standin):
    assert (
        load.module_values(INCEPTION_V3, 75, SimpleNamespace(), tf1_module).keys()
        == dict(INCEPTION_V3.variables(75)).keys()
    )


def test_changed_weights_are_noticed(standin, backbone, module):
    """Keras' network with one channel of one kernel changed is not the module any more."""
    network = build_network(INCEPTION_V3, 75)
    weights = backbone.network.get_weights()
    weights[0] = weights[0].copy()
    weights[0][:, :, :, 0] *= 1.05
    network.set_weights(weights)
    with pytest.raises(UserError, match="differs from Keras' "):
        load.check(find_function(INCEPTION_V3, module, standin), network, 75, standin)


def test_module_that_cannot_be_restored_is_refused(standin, tmp_path):
    broken = tmp_path / "module"
    shutil.copytree(standin, broken)
    data = broken / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cannot be loaded: .*Fetch it again"):
        load.load_backbone(broken, image_size=75)


def test_too_small_images_and_missing_graph(standin, tmp_path):
    with pytest.raises(
        UserError, match="image.size is 74, too small for InceptionV3: at least 75 pixels"
    ):
        load.load_backbone(standin, image_size=74)
    with pytest.raises(UserError, match=r"has no saved_model\.pb"):
        load.load_backbone(tmp_path, image_size=75)


def test_module_without_an_image_input_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"the signatures none, and none of default, "):
        find_function(INCEPTION_V3, SimpleNamespace(signatures={}), tmp_path)


def test_the_network_is_recognised_by_its_variables():
    names = ["module/InceptionV4/Mixed_5b/Branch_0/Conv2d_0a_1x1/weights:0"]
    assert load.choose_network("auto", names, "a/module").name == "inception_v4"
    assert load.choose_network("inception_v4", names, "a/module").name == "inception_v4"
    with pytest.raises(
        UserError, match="it holds InceptionV4, and backbone.network is inception_v3"
    ):
        load.choose_network("inception_v3", names, "a/module")
    with pytest.raises(UserError, match="none of its 1 variables is named as in InceptionV1, "):
        load.choose_network("auto", ["vgg_16/conv1/weights:0"], "a/module")
