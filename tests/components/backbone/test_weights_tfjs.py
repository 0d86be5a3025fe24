"""TensorFlow.js' layout, plain and quantised: the very values that its own reader would take."""

import json
import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from inception_finetune.components.backbone.network import BATCH_NORM_EPSILON
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.components.backbone.weights import importing, tfjs
from inception_finetune.components.errors import UserError

SHARD = 4 << 20  # bytes, as tensorflowjs_converter cuts; kernels go across
FIRST = "InceptionV3/Conv2d_1a_3x3"


@pytest.fixture(scope="module")
def arrays():
    """By TF-Slim's names, and by Keras', which number from somewhere."""
    generator = np.random.default_rng(0)
    values, names = {}, {}
    for number, (scope, convolution) in enumerate(INCEPTION_V3.convolutions.items(), start=95):
        layers = (
            f"conv2d_{number}/kernel",
            *(
                f"batch_normalization_{number + 5}/{name}"
                for name in ("beta", "moving_mean", "moving_variance")
            ),
        )
        names |= {f"{scope}/{s}": n for s, n in zip(convolution.suffixes, layers, strict=True)}
    for name, shape in INCEPTION_V3.variables(299):
        values[name] = generator.standard_normal(shape, np.float32)
    return values, names


def quantize(array, kind):
    """As tensorflowjs' quantization.py; what is stored, what the manifest says, what is meant."""
    if kind is None:
        return array, {}, array
    if kind == "float16":
        stored = array.astype("<f2")
        return stored, {"dtype": kind}, stored.astype(np.float32)
    low, high = float(array.min()), float(array.max())
    scale = (high - low) / np.iinfo(kind).max
    stored = np.round((array - low) / scale).astype(np.dtype(kind).newbyteorder("<"))
    meant = (stored.astype(np.float64) * scale + low).astype(np.float32)
    return stored, {"dtype": kind, "scale": scale, "min": low}, meant


def write(folder, variables, kind=None, *, extra=()):
    """A model's files; returns what its reader takes each variable for."""
    folder.mkdir(parents=True, exist_ok=True)
    content, specs, meant = [], [], {}
    for name, array in (*variables.items(), *extra):
        stored, quantization, meant[name] = quantize(array, kind)
        spec = {"name": name, "shape": list(array.shape), "dtype": "float32"}
        specs.append(spec | ({"quantization": quantization} if quantization else {}))
        content.append(stored.tobytes())
    whole = b"".join(content)
    parts = [whole[start : start + SHARD] for start in range(0, len(whole), SHARD)]
    paths = [f"group1-shard{n + 1}of{len(parts)}.bin" for n in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        (folder / path).write_bytes(part)
    write_model(folder, [{"paths": paths, "weights": specs}])
    return meant


def write_model(folder, manifest, **others):
    model = {"format": "layers-model", "modelTopology": {}, "weightsManifest": manifest} | others
    (folder / "model.json").write_text(json.dumps(model))


@pytest.mark.parametrize("kind", [None, "uint8", "uint16", "float16"])
def test_the_values_are_those_of_the_manifest(arrays, tmp_path, kind, capsys):
    values, names = arrays
    top = [("predictions/kernel", np.eye(2048, 1000, dtype=np.float32))]
    variables = {f"inception_v3/{keras}": values[slim] for slim, keras in names.items()}
    meant = write(tmp_path / "model", variables, kind, extra=top)
    assert importing.is_source(tmp_path / "model")
    found = tfjs.read(tmp_path / "model", "auto")
    assert (found.backbone, found.value_range, found.answer) == (INCEPTION_V3, None, None)
    assert list(found.values) == list(values)
    for slim, keras in names.items():
        assert found.values[slim].dtype == np.float32
        assert np.array_equal(found.values[slim], meant[f"inception_v3/{keras}"]), slim
    assert "left out: its classifier: predictions of 1,000 outputs" in capsys.readouterr().err


@pytest.fixture(scope="module")
def folder(arrays, tmp_path_factory):
    values, names = arrays
    folder = tmp_path_factory.mktemp("tfjs") / "model"
    write(folder, {keras: values[slim] for slim, keras in names.items()}, "uint8")
    return folder


@pytest.mark.parametrize("name", ["m.tar.gz", "m.zip", "model.json"])
def test_an_archive_and_the_file_itself(folder, tmp_path, name):
    path = tmp_path / name
    if name == "m.zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.iterdir():
                archive.write(file, f"web/{file.name}")
    elif name == "m.tar.gz":
        with tarfile.open(path, "w:gz", compresslevel=1) as archive:
            archive.add(folder, "web")
    else:
        path = folder / name
    assert importing.is_source(path)
    found, expected = (tfjs.read(one, "inception_v3").values for one in (path, folder))
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_scale_and_an_epsilon_are_folded(arrays, tmp_path):
    values, names = arrays
    layer = names[f"{FIRST}/BatchNorm/beta"].removesuffix("/beta")
    gamma = np.linspace(-2, 2, 32, dtype=np.float32)
    positive = {k: np.abs(values[s]) if "variance" in s else values[s] for s, k in names.items()}
    write(tmp_path, positive, extra=[(f"{layer}/gamma", gamma)])
    model = json.loads((tmp_path / "model.json").read_text())
    config = {"class_name": "BatchNormalization", "config": {"name": layer, "epsilon": 0.01}}
    write_model(
        tmp_path,
        model["weightsManifest"],
        modelTopology={"model_config": {"config": {"layers": [config]}}},
    )
    found = tfjs.read(tmp_path, "auto").values
    ones = np.ones(32, np.float32)
    kernel, beta, mean, variance = (
        found[f"{FIRST}/{s}"] for s in INCEPTION_V3.convolutions[FIRST].suffixes
    )
    old_mean, old_variance = (
        positive[f"{layer}/{name}"] for name in ("moving_mean", "moving_variance")
    )
    old = gamma * (values[f"{FIRST}/weights"] * ones - old_mean) / np.sqrt(old_variance + 0.01)
    new = (kernel - mean) / np.sqrt(variance + BATCH_NORM_EPSILON)
    np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-6)
    assert np.array_equal(beta, values[f"{FIRST}/BatchNorm/beta"])
    second = "InceptionV3/Conv2d_2a_3x3/weights"
    assert np.array_equal(found[second], values[second])


def manifest_of(folder):
    return json.loads((folder / "model.json").read_text())["weightsManifest"]


def lose_weight(folder):
    manifest = manifest_of(folder)
    lost = manifest[0]["weights"].pop()
    manifest[0]["weights"].append({**lost, "name": "conv2d_7777/kernel"})
    write_model(folder, manifest)


def lead_out(folder):
    manifest = manifest_of(folder)
    manifest[0]["paths"][0] = "../elsewhere.bin"
    write_model(folder, manifest)


def become_graph(folder):
    write_model(folder, manifest_of(folder), format="graph-model")


def spoil(folder):
    manifest = manifest_of(folder)
    manifest[0]["weights"][4]["quantization"]["min"] = float("inf")
    write_model(folder, manifest)


def lose_key(folder):
    manifest = manifest_of(folder)
    del manifest[0]["weights"][4]["shape"]
    write_model(folder, manifest)


def hold_strings(folder):
    manifest = manifest_of(folder)
    manifest[0]["weights"][4] |= {"dtype": "string", "quantization": None}
    write_model(folder, manifest)


def cut(folder):
    shard = sorted(folder.glob("*.bin"))[0]
    shard.write_bytes(shard.read_bytes()[:-5])


def lose_shard(folder):
    sorted(folder.glob("*.bin"))[0].unlink()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lose_weight, "1 missing: batch_normalization_193/moving_variance .*; 1 surplus: conv2d_7"),
        (lead_out, r"is refused: its shard '\.\./elsewhere\.bin' leads outside the folder"),
        (become_graph, "is a graph-model, not a layers-model"),
        (spoil, "not finite .*: conv2d_96/kernel is float32 or holds NaN"),
        (lose_key, "TensorFlow.js model .* cannot be read: KeyError: 'shape'"),
        (hold_strings, "something else than numbers: conv2d_96/kernel is string"),
        (cut, r"is incomplete: .* has 21,\d+,\d+ bytes in group1-.*, which hold 21,"),
        (lose_shard, "TensorFlow.js model .* cannot be read: .*No such file"),
    ],
)
def test_what_is_refused(folder, tmp_path, change, complaint):
    shutil.copytree(folder, tmp_path / "m")
    change(tmp_path / "m")
    with pytest.raises(UserError, match=complaint) as refused:
        tfjs.read(tmp_path / "m", "auto")
    assert "\n" not in str(refused.value)


def test_archives_that_lead_out_and_other_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("model.json", "{}")
        archive.writestr("../out.bin", "x")
    with pytest.raises(UserError, match=r"is refused: '\.\./out\.bin' leads outside"):
        tfjs.read(tmp_path / "out.zip", "auto")
    assert not (tmp_path / "out.bin").exists()
    (tmp_path / "package.json").write_text('{"name": "web"}')
    (tmp_path / "cut.json").write_text('{"weightsManifest": [')
    for name in ("package.json", "cut.json", "none", "."):
        assert not tfjs.recognises(tmp_path / name)


def test_the_digest_is_of_all_shards(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "m")
    manifest = manifest_of(folder)
    last = tmp_path / "m" / manifest[0]["paths"][-1]
    last.rename(tmp_path / "m" / "last")
    manifest[0]["paths"][-1] = "last"
    write_model(tmp_path / "m", manifest)
    before = importing.source_digest(tmp_path / "m" / "model.json")
    (tmp_path / "m" / "last").write_bytes(b"changed")
    assert importing.source_digest(tmp_path / "m" / "model.json") != before
