"""PyTorch's safetensors: names and shapes are timm's, values arrive, the rest is refused."""

import hashlib
import json
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.backbone.weights import pytorch_names
from inception_finetune.components.backbone.weights.safetensors_file import (
    expected_tensors,
    read,
    recognises,
)
from inception_finetune.components.errors import UserError

# Of the state that timm's own code gives (its classifiers and counters left out): the number of
# tensors and the sha256 of lines "name shape", sorted. torchvision's InceptionV3 has the same.
TIMM = {
    "inception_v3": (470, "32c3d605d63765f23fdff1ba2769a1303a68da6330da3e9488ffe5785d39497c"),
    "inception_v4": (745, "2090c2f0c18fdb97d888e1959040b63a5e3b33430bbeb65da8b419b4ae11a1e7"),
    "inception_resnet_v2": (
        1100,
        "d197dea9f4203ae9e86a3b6fe533f42d18aef74eb2e30b8888668ec93654796a",
    ),
}
# By hand, from timm/models/inception_*.py: where branches could be mistaken for one another.
PAIRS = {
    "inception_v3": {
        "Conv2d_4a_3x3": "Conv2d_4a_3x3",
        "Mixed_5b/Branch_1/Conv2d_0b_5x5": "Mixed_5b.branch5x5_2",
        "Mixed_5c/Branch_1/Conv_1_0c_5x5": "Mixed_5c.branch5x5_2",
        "Mixed_5d/Branch_2/Conv2d_0c_3x3": "Mixed_5d.branch3x3dbl_3",
        "Mixed_6a/Branch_1/Conv2d_0b_3x3": "Mixed_6a.branch3x3dbl_2",
        "Mixed_6e/Branch_1/Conv2d_0b_1x7": "Mixed_6e.branch7x7_2",
        "Mixed_6e/Branch_2/Conv2d_0b_7x1": "Mixed_6e.branch7x7dbl_2",
        "Mixed_7a/Branch_1/Conv2d_1a_3x3": "Mixed_7a.branch7x7x3_4",
        "Mixed_7b/Branch_1/Conv2d_0b_3x1": "Mixed_7b.branch3x3_2b",
        "Mixed_7c/Branch_2/Conv2d_0c_1x3": "Mixed_7c.branch3x3dbl_3a",
        "Mixed_7c/Branch_3/Conv2d_0b_1x1": "Mixed_7c.branch_pool",
    },
    "inception_v4": {
        "Conv2d_2b_3x3": "features.2",
        "Mixed_3a/Branch_1/Conv2d_0a_3x3": "features.3.conv",
        "Mixed_4a/Branch_1/Conv2d_0c_7x1": "features.4.branch1.2",
        "Mixed_5a/Branch_0/Conv2d_1a_3x3": "features.5.conv",
        "Mixed_5e/Branch_3/Conv2d_0b_1x1": "features.9.branch3.1",
        "Mixed_6a/Branch_0/Conv2d_1a_3x3": "features.10.branch0",
        "Mixed_6h/Branch_2/Conv2d_0b_7x1": "features.17.branch2.1",
        "Mixed_7a/Branch_0/Conv2d_1a_3x3": "features.18.branch0.1",
        "Mixed_7b/Branch_1/Conv2d_0c_3x1": "features.19.branch1_1b",
        "Mixed_7d/Branch_2/Conv2d_0d_1x3": "features.21.branch2_3a",
    },
    "inception_resnet_v2": {
        "Conv2d_3b_1x1": "conv2d_3b",
        "Mixed_5b/Branch_0/Conv2d_1x1": "mixed_5b.branch0",
        "Mixed_5b/Branch_3/Conv2d_0b_1x1": "mixed_5b.branch3.1",
        "Repeat/block35_1/Branch_2/Conv2d_0c_3x3": "repeat.0.branch2.2",
        "Repeat/block35_10/Conv2d_1x1": "repeat.9.conv2d",
        "Repeat_1/block17_20/Branch_1/Conv2d_0b_1x7": "repeat_1.19.branch1.1",
        "Mixed_7a/Branch_2/Conv2d_1a_3x3": "mixed_7a.branch2.2",
        "Repeat_2/block8_9/Branch_0/Conv2d_1x1": "repeat_2.8.branch0",
        "Block8/Conv2d_1x1": "block8.conv2d",
        "Conv2d_7b_1x1": "conv2d_7b",
    },
}
FIRST = "Conv2d_1a_3x3"  # of InceptionV3, under both names


def random_state(network):
    """Kernels, statistics and biases of any sign; scales 1 and variances above 0."""
    generator = np.random.default_rng(0)
    state = {}
    for name, shape in expected_tensors(NETWORKS[network]).items():
        value = generator.random(shape, np.float32)
        if name.endswith("bn.weight"):
            value = np.ones_like(value)
        elif not name.endswith("running_var"):
            value -= np.float32(0.5)
        state[name] = value
    return state


@pytest.fixture(scope="module")
def state():
    """Of InceptionV3, with what PyTorch has beside its trunk."""
    state = random_state("inception_v3")
    counters = {
        name.replace("running_var", "num_batches_tracked"): np.int64(3)
        for name in state
        if name.endswith("running_var")
    }
    return {
        **state,
        **{name: np.asarray(value) for name, value in counters.items()},
        "fc.weight": np.zeros((1000, 2048), np.float32),
        "fc.bias": np.zeros(1000, np.float32),
        "AuxLogits.conv0.conv.weight": np.zeros((128, 768, 1, 1), np.float32),
        "AuxLogits.fc.bias": np.zeros(1000, np.float32),
    }


@pytest.mark.parametrize("network", TIMM)
def test_names_and_shapes_are_timms(network):
    rows = sorted(expected_tensors(NETWORKS[network]).items())
    lines = "".join(f"{name} {', '.join(map(str, shape))}\n" for name, shape in rows)
    assert (len(rows), hashlib.sha256(lines.encode()).hexdigest()) == TIMM[network]


@pytest.mark.parametrize("network", PAIRS)
def test_branches_are_those_of_timms_code(network):
    backbone = NETWORKS[network]
    names = pytorch_names.modules(backbone)
    found = {scope.removeprefix(backbone.scope): module for scope, module in names.items()}
    assert {scope: found[scope] for scope in PAIRS[network]} == PAIRS[network]


def test_every_value_arrives_and_scales_are_folded(state, tmp_path, capsys):
    scaled = "Mixed_7c.branch_pool"
    file = tmp_path / "v3.safetensors"
    save_file({**state, f"{scaled}.bn.weight": np.full(192, -2, np.float32)}, file)
    assert recognises(file)
    weights = read(file, "auto")
    assert (weights.backbone.name, weights.value_range, weights.answer) == (
        "inception_v3",
        None,
        None,
    )
    assert weights.values.keys() == dict(weights.backbone.variables(299)).keys()
    for scope, module in pytorch_names.modules(weights.backbone).items():
        factor = np.float32(-2 if module == scaled else 1)
        expected = {
            "weights": np.moveaxis(state[f"{module}.conv.weight"], (0, 1), (3, 2)) * factor,
            "BatchNorm/beta": state[f"{module}.bn.bias"],
            "BatchNorm/moving_mean": state[f"{module}.bn.running_mean"] * factor,
            "BatchNorm/moving_variance": state[f"{module}.bn.running_var"],
        }
        for suffix, value in expected.items():
            np.testing.assert_array_equal(weights.values[f"{scope}/{suffix}"], value, module)
    assert "9 average poolings" in capsys.readouterr().err


def test_projections_have_a_bias(tmp_path, capsys):
    state = random_state("inception_resnet_v2")
    state["classif.bias"] = np.zeros(1000, np.float32)
    file = tmp_path / "model.safetensors"
    save_file(state, file)
    assert recognises(tmp_path)  # as Hugging Face's hub lays it out
    weights = read(tmp_path, "inception_resnet_v2")
    assert weights.value_range == (-1, 1)
    assert not capsys.readouterr().err  # it is TF-Slim's network
    scope = "InceptionResnetV2/Repeat_1/block17_3/Conv2d_1x1"
    np.testing.assert_array_equal(
        weights.values[f"{scope}/weights"][0, 0], state["repeat_1.2.conv2d.weight"][:, :, 0, 0].T
    )
    np.testing.assert_array_equal(
        weights.values[f"{scope}/biases"], state["repeat_1.2.conv2d.bias"]
    )


def test_a_normalisation_by_colour_is_folded(state, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(state, file)
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    settings = {"pretrained_cfg": {"mean": mean, "std": deviation}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    weights = read(file, "auto")
    assert weights.value_range == (-1, 1)
    images = np.random.default_rng(1).random((1, 9, 9, 3), np.float32)

    def first(pixels, kernel, moving_mean):
        return tf.nn.conv2d(pixels, kernel, 2, "VALID").numpy() - moving_mean

    expected = first(
        (images - np.float32(mean)) / np.float32(deviation),
        state[f"{FIRST}.conv.weight"].transpose(2, 3, 1, 0),
        state[f"{FIRST}.bn.running_mean"],
    )
    scope = f"InceptionV3/{FIRST}"
    found = first(
        images * 2 - 1,
        weights.values[f"{scope}/weights"],
        weights.values[f"{scope}/BatchNorm/moving_mean"],
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_normalisation_that_is_a_range_is_told(state, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(state, file)
    for mean, deviation, expected in ((0.5, 0.5, (-1, 1)), (0, 1, (0, 1))):
        settings = {"mean": [mean] * 3, "std": [deviation] * 3}
        (tmp_path / "config.json").write_text(json.dumps(settings))
        assert read(file, "auto").value_range == expected
    (tmp_path / "config.json").write_text('{"mean": [0.5, 0.5, 0.5], "std": [0, 1, 1]}')
    with pytest.raises(UserError, match=r"config\.json has the mean .*std positive"):
        read(file, "auto")


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_become_float32(state, tmp_path, dtype):
    file = tmp_path / "v3.safetensors"
    kernel = state[f"{FIRST}.conv.weight"].astype(dtype)
    save_file({**state, f"{FIRST}.conv.weight": kernel}, file)
    found = read(file, "auto").values[f"InceptionV3/{FIRST}/weights"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, kernel.astype(np.float32).transpose(2, 3, 1, 0))


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "network", "complaint"),
    [
        (lambda s: without(s, "Mixed_7a.branch3x3_1.bn.bias"), "auto", "1 missing: Mixed_7a.branc"),
        (lambda s: {**s, "extra.weight": np.zeros(2, "f")}, "auto", r"1 surplus: extra.weight \[2"),
        (
            lambda s: {**s, "Mixed_5b.branch1x1.bn.bias": np.zeros(65, "f")},
            "auto",
            r"1 misshapen: Mixed_5b.branch1x1.bn.bias \[65\] instead of \[64\]",
        ),
        (lambda s: s, "inception_v4", "it holds InceptionV3, and backbone.network is inception_v4"),
        (lambda s: {"layer1.weight": np.zeros(2, "f")}, "auto", "No known network in"),
        (
            lambda s: {"layer1.weight": np.zeros(2, "f")},
            "inception_v1",
            "cannot hold inception_v1: timm has only",
        ),
        (
            lambda s: {**s, f"{FIRST}.bn.bias": np.zeros(32, np.int8)},
            "auto",
            f"{FIRST}.bn.bias is I8. Export them without quantisation",
        ),
        (
            lambda s: {**s, f"{FIRST}.bn.running_var": np.full(32, -1, "f")},
            "auto",
            f"InceptionV3/{FIRST}/weights. Export them again",
        ),
    ],
)
def test_what_does_not_fit_is_refused(state, tmp_path, change, network, complaint):
    file = tmp_path / "wrong.safetensors"
    save_file(change(state), file)
    with pytest.raises(UserError, match=complaint) as caught:
        read(file, network)
    assert "\n" not in str(caught.value)


def test_damaged_files_and_pickles_are_refused(tmp_path):
    file = tmp_path / "small.safetensors"
    save_file({"a": np.zeros(100, np.float32)}, file)
    file.write_bytes(file.read_bytes()[:-1])
    assert recognises(file)
    with pytest.raises(UserError, match=r"cannot be read from .*small\.safetensors"):
        read(file, "auto")
    pickled = tmp_path / "inception.pth"
    pickled.write_bytes(pickle.dumps({}))
    zipped = tmp_path / "pytorch_model.bin"
    np.savez(zipped.with_suffix(".npz"), x=np.zeros(1))
    assert not recognises(zipped.with_suffix(".npz"))
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    for path in (pickled, zipped):
        assert recognises(path)
        with pytest.raises(UserError, match=f"{path.name} is a pickle, which can run code"):
            read(path, "auto")
    text = tmp_path / "notes.txt"
    text.write_text("a text of some length")
    assert not any(map(recognises, (text, tmp_path, tmp_path / "nowhere")))
