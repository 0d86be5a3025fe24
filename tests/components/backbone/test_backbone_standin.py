"""The stand-in: named as TF-Slim's, of a sane scale at depth, and plain about what it is."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from helpers.paths import SHARED
from inception_finetune.components.backbone import forward
from inception_finetune.components.backbone.load import checkpoint_arrays
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.components.backbone.standin import make_standin, random_values
from inception_finetune.components.errors import UserError

REAL_WEIGHTS = SHARED / "data" / "inception_v3_cifar100_75px.npz"


@pytest.fixture(scope="module")
def values(request):
    return dict(checkpoint_arrays(request.getfixturevalue("standin")))


def test_variables_are_tf_slims(values):
    values = {name: array.shape for name, array in values.items() if name != "save_counter"}
    assert values == dict(INCEPTION_V3.variables(75))


def test_reusable_savedmodel_interface(standin):
    module = tf.saved_model.load(str(standin))
    assert len(module.variables) == 376
    assert len(module.trainable_variables) == 188
    assert module.regularization_losses == []
    images = np.random.default_rng(0).random((2, 75, 75, 3), np.float32)
    signature = module.signatures["serving_default"]
    features = module(images).numpy()
    assert features.shape == (2, 2048)
    assert np.array_equal(features, module(images, training=False))
    assert np.array_equal(features, signature(tf.constant(images))["default"])
    assert module(np.zeros((1, 90, 110, 3), np.float32)).shape == (1, 2048)


def test_training_mode_uses_and_records_batch_statistics(standin):
    module = tf.saved_model.load(str(standin))
    images = np.random.default_rng(0).random((2, 75, 75, 3), np.float32)
    before = [variable.numpy() for variable in module.variables[:4]]
    inference, training = module(images), module(images, training=True)
    assert np.abs(inference - training).max() > 0.1
    kernel, beta, mean, _ = (variable.numpy() for variable in module.variables[:4])
    assert np.array_equal(kernel, before[0])
    assert np.array_equal(beta, before[1])
    batch = tf.nn.conv2d(images * 2 - 1, kernel, 2, "VALID").numpy().mean(axis=(0, 1, 2))
    np.testing.assert_allclose(mean, 0.99 * before[2] + 0.01 * batch, rtol=1e-3, atol=1e-5)


def test_activations_keep_their_scale_on_pictures_it_was_not_calibrated_on(values):
    from sklearn.datasets import load_digits

    digits = load_digits().images[:16, :, :, None] / 16
    images = tf.image.grayscale_to_rgb(tf.image.resize(digits, (75, 75))) * 2 - 1
    scale = {}

    def convolve(scope, convolution, value):
        names = ("beta", "moving_mean", "moving_variance")
        statistics = [values[f"{scope}/BatchNorm/{name}"] for name in names]
        value = forward.convolve(value, [values[f"{scope}/weights"]], convolution)
        return forward.normalise(value, *statistics, convolution)

    def record(name, value):
        scale[name] = float(tf.sqrt(tf.reduce_mean(value**2)))

    last = forward.run_blocks(
        INCEPTION_V3, INCEPTION_V3.blocks, images, convolve, after_block=record
    )
    features = forward.global_average(last).numpy()
    assert set(scale) == {block.name for block in INCEPTION_V3.blocks}
    assert all(0.7 < value < 3 for value in scale.values()), scale
    assert features.std(axis=0).mean() > 0.05  # different digits, different features


def test_the_seed_decides(values):
    again = random_values(INCEPTION_V3, 0, 75)
    other = random_values(INCEPTION_V3, 1, 75)
    name = "InceptionV3/Mixed_7c/Branch_0/Conv2d_0a_1x1/weights"
    assert np.array_equal(again[name], values[name])
    assert np.abs(other[name] - values[name]).max() > 0.01


def test_note_says_that_it_is_not_pretrained(standin):
    assert "NOT pretrained" in (standin / "README.txt").read_text()


def test_same_settings_again_are_a_no_op_and_others_are_refused(standin):
    before = (standin / "saved_model.pb").stat().st_mtime_ns
    make_standin(standin, seed=0)
    assert (standin / "saved_model.pb").stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"other settings.*Delete it"):
        make_standin(standin, seed=1)


def test_changed_standin_and_foreign_directory_are_refused(standin, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(standin, copy)
    with (copy / "saved_model.pb").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match="changed after it was made"):
        make_standin(copy, seed=0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="holds something else"):
        make_standin(tmp_path / "mine", seed=0)


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(backbone, values, image_size, directory):
        Path(directory, "saved_model.pb").write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(forward, "save", fail)
    monkeypatch.setattr(
        "inception_finetune.components.backbone.standin.random_values",
        lambda backbone, seed, size: {},
    )
    with pytest.raises(OSError, match="disk full"):
        make_standin(tmp_path / "m", seed=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"seed": -1}, r"seed is -1, not in \[0, 2"),
        ({"seed": 0, "image_size": 74}, "at least 75"),
        ({"seed": 0, "weights": Path("nowhere.npz")}, "No such file of weights: nowhere.npz"),
    ],
)
def test_bad_settings(tmp_path, settings, complaint):
    with pytest.raises(UserError, match=complaint):
        make_standin(tmp_path / "m", **settings)


@pytest.mark.real_data
def test_standin_from_real_weights(tmp_path):
    if not REAL_WEIGHTS.exists():
        pytest.skip("no CIFAR-100 weights beside the repository")
    make_standin(tmp_path / "m", seed=0, weights=REAL_WEIGHTS)
    digest = hashlib.sha256(REAL_WEIGHTS.read_bytes()).hexdigest()
    assert digest in (tmp_path / "m" / "README.txt").read_text()
    settings = json.loads((tmp_path / "m" / "standin.json").read_text())["settings"]
    assert settings["weights_sha256"] == digest
    found = dict(checkpoint_arrays(tmp_path / "m"))
    with np.load(REAL_WEIGHTS) as file:
        expected = file["batch_normalization_93/moving_variance:0"].astype(np.float32)
    name = "InceptionV3/Mixed_7c/Branch_3/Conv2d_0b_1x1/BatchNorm/moving_variance"
    assert np.array_equal(found[name], expected)
