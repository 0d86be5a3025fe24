"""An .npz in TF-Slim's names, or in those that Keras numbers, fills any network that it fits."""

import numpy as np
import pytest

from inception_finetune.components.backbone.networks.inception_v1 import INCEPTION_V1
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.components.backbone.weights import npz
from inception_finetune.components.errors import UserError


def keras_arrays(dtype=np.float16):
    """Arrays under a fresh Keras network's names; kernels hold their creation number."""
    arrays = {}
    kernels = [shape for name, shape in INCEPTION_V3.variables(75) if name.endswith("weights")]
    for number, kernel in enumerate(kernels):
        suffix = f"_{number}" if number else ""
        arrays[f"conv2d{suffix}/kernel:0"] = np.full(kernel, number, dtype)
        for index, name in enumerate(("beta", "moving_mean", "moving_variance")):
            key = f"batch_normalization{suffix}/{name}:0"
            arrays[key] = np.full(kernel[-1:], number + (index + 1) / 4, dtype)
    return arrays


@pytest.mark.parametrize("network", ["auto", "inception_v3"])
def test_array_file_by_keras_names(tmp_path, network):
    arrays = keras_arrays() | {"head/dense/kernel:0": np.zeros(3)}
    keys = list(arrays)
    np.random.default_rng(0).shuffle(keys)
    np.savez(tmp_path / "w.npz", **{key: arrays[key] for key in keys})
    assert npz.recognises(tmp_path / "w.npz")
    found = npz.read(tmp_path / "w.npz", network)
    assert (found.backbone, found.value_range, found.answer) == (INCEPTION_V3, (-1, 1), None)
    values = found.values
    assert list(values) == [name for name, _ in INCEPTION_V3.variables(75)]
    assert {array.dtype for array in values.values()} == {np.dtype(np.float32)}
    assert values["InceptionV3/Mixed_5b/Branch_0/Conv2d_0a_1x1/weights"].max() == 5
    scope = "InceptionV3/Mixed_7c/Branch_3/Conv2d_0b_1x1/BatchNorm"
    assert [values[f"{scope}/{n}"][0] for n in ("beta", "moving_mean", "moving_variance")] == [
        93.25,
        93.5,
        93.75,
    ]


def test_array_file_by_tf_slims_names(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {name: generator.random(shape) for name, shape in INCEPTION_V1.variables(224)}
    np.savez(tmp_path / "w.npz", **arrays)
    found = npz.read(tmp_path / "w.npz", "auto")
    assert found.backbone == INCEPTION_V1
    assert all(np.array_equal(found.values[n], a.astype(np.float32)) for n, a in arrays.items())
    with pytest.raises(UserError, match=r"Another network in .*: it holds InceptionV1"):
        npz.read(tmp_path / "w.npz", "inception_v3")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda a: a.pop("conv2d_3/kernel:0"), r"1 missing: conv2d_3/kernel \[1, 1, 64, 80\]"),
        (lambda a: a.update({"dense/bias:0": np.zeros(7)}), r"1 surplus: dense/bias \[7\]"),
        (
            lambda a: a.update({"conv2d/kernel:0": np.zeros((3, 3, 32, 3))}),
            r"conv2d/kernel \[3, 3, 32, 3\] instead of \[3, 3, 3, 32\]",
        ),
        (
            lambda a: a["batch_normalization_7/beta:0"].fill(np.nan),
            "batch_normalization_7/beta:0 is float16 or holds NaN",
        ),
    ],
)
def test_array_file_that_does_not_fit(tmp_path, change, complaint):
    arrays = keras_arrays()
    change(arrays)
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(UserError, match=complaint):
        npz.read(tmp_path / "w.npz", "inception_v3")


def test_pickles_and_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", **{"conv2d/kernel:0": np.array([object()], dtype=object)})
    with pytest.raises(UserError, match="npz of plain arrays"):
        npz.read(tmp_path / "w.npz", "inception_v3")
    (tmp_path / "w.npz").write_bytes(b"PK\x03\x04 cut off")
    assert not npz.recognises(tmp_path / "w.npz")
    with pytest.raises(UserError, match="npz of plain arrays"):
        npz.read(tmp_path / "w.npz", "inception_v3")


def test_names_that_no_network_has_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", **{"fc1": np.zeros(3)})
    with pytest.raises(UserError, match="No known network in .*: none of its 1 variables"):
        npz.read(tmp_path / "w.npz", "auto")
