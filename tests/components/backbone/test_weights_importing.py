"""Weights become a module that takes [0, 1], whatever pixels they were trained on; or nothing."""

import hashlib
import json
import shutil
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from inception_finetune.components.backbone import forward, load, module
from inception_finetune.components.backbone.blocks import Block, Convolution
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.backbone.networks.inception_v1 import INCEPTION_V1
from inception_finetune.components.backbone.networks.inception_v2 import INCEPTION_V2
from inception_finetune.components.backbone.weights import importing
from inception_finetune.components.errors import UserError

FIRST = "InceptionV1/Conv2d_1a_7x7/weights"


def network(**settings):
    """One convolution of 3x3, stride 2."""
    convolution = Convolution("Conv", (3, 3), 5, stride=2, **settings)
    return Backbone("toy", "Toy", "Toy/", (Block("stem", ((convolution,),), ""),), 11, 3, "", "")


def answer(backbone, values, images):
    """`images` in the range that the values take."""

    def convolve(scope, convolution, value):
        kernel, *others = (values[f"{scope}/{suffix}"] for suffix in convolution.suffixes)
        value = forward.convolve(value, [kernel], convolution)
        apply = forward.add_bias if convolution.has_bias else forward.normalise
        return apply(value, *others, convolution)

    return forward.run_blocks(backbone, backbone.blocks, images, convolve).numpy()


def random_values(backbone):
    generator = np.random.default_rng(0)
    return {  # positive, as a variance is; and so that ReLU hides nothing
        name: generator.uniform(0.1, 1, shape).astype(np.float32)
        for name, shape in backbone.variables(backbone.native_size)
    }


@pytest.mark.parametrize("value_range", [(0, 1), (0, 255), (-1, 1), (-0.5, 3)])
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_value_range_is_folded_exactly(value_range, has_bias, tmp_path):
    backbone = network(padding="VALID", has_bias=has_bias)
    values, (low, high) = random_values(backbone), value_range
    folded = importing.fold_value_range(backbone, values, value_range, tmp_path)
    images = load.probe_images(11)
    expected = answer(backbone, values, low + (high - low) * images)
    assert expected.std() > 0.01
    np.testing.assert_allclose(
        answer(backbone, folded, images * 2 - 1), expected, rtol=1e-5, atol=1e-5 * expected.max()
    )


def test_a_convolution_that_pads_takes_a_symmetric_range_alone(tmp_path):
    backbone = network()
    values, images = random_values(backbone), load.probe_images(11) * 2 - 1
    folded = importing.fold_value_range(backbone, values, (-128, 128), tmp_path)
    np.testing.assert_allclose(
        answer(backbone, folded, images), answer(backbone, values, 128 * images), rtol=1e-5
    )
    for padded, titled in ((backbone, "Toy"), (INCEPTION_V1, "InceptionV1")):
        with pytest.raises(
            UserError, match=rf"Pixels in \[0, 255\], .* do not fit {titled} exactly"
        ):
            importing.fold_value_range(padded, random_values(padded), (0, 255), tmp_path)


def test_the_first_of_separable_kernels_takes_the_scale(tmp_path):
    values = random_values(INCEPTION_V2)
    folded = importing.fold_value_range(INCEPTION_V2, values, (-2, 2), tmp_path)
    changed = [name for name in values if not np.array_equal(values[name], folded[name])]
    assert changed == ["InceptionV2/Conv2d_1a_7x7/depthwise_weights"]
    assert np.array_equal(folded[changed[0]], 2 * values[changed[0]])


@pytest.mark.parametrize("value_range", [(1, 0), (0, 0), (0, np.inf), (np.nan, 1)])
def test_no_range(value_range, tmp_path):
    backbone = network(padding="VALID")
    with pytest.raises(UserError, match="does not go from a number up to another"):
        importing.fold_value_range(backbone, random_values(backbone), value_range, tmp_path)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """InceptionV1 as TF-Slim's V1 checkpoint, of a sane scale at depth."""
    generator = np.random.default_rng(0)
    values = {}
    for name, shape in INCEPTION_V1.variables(224):
        if name.endswith("weights"):
            scale = np.sqrt(2 / np.prod(shape[:3]))
            values[name] = generator.normal(0, scale, shape).astype(np.float32)
        else:
            values[name] = np.full(shape, "variance" in name, np.float32)
    values["InceptionV1/Logits/Conv2d_0c_1x1/biases"] = np.zeros(1001, np.float32)
    path = tmp_path_factory.mktemp("source") / "inception_v1.ckpt"
    # What tf.train.Saver calls for the form of 2016.
    tf.raw_ops.Save(
        filename=str(path),
        tensor_names=list(values),
        data=[tf.constant(v) for v in values.values()],
    )
    return path


@pytest.fixture(scope="module")
def imported(source, tmp_path_factory):
    directory = tmp_path_factory.mktemp("imported") / "module"
    importing.import_weights(source, directory)
    return directory


def test_the_module_has_the_checkpoints_variables(imported, source):
    reader = tf.train.load_checkpoint(str(source))
    found = dict(load.checkpoint_arrays(imported))
    names = [name for name, _ in INCEPTION_V1.variables(224)]
    assert set(found) == {*names, "save_counter"}
    assert all(np.array_equal(found[name], reader.get_tensor(name)) for name in names)
    assert load.load_backbone(imported, image_size=32).backbone == INCEPTION_V1


def test_the_note_and_the_manifest_name_the_source(imported, source):
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    note = (imported / "README.txt").read_text()
    assert f"from inception_v1.ckpt, a TF-Slim checkpoint,\nsha256 {digest}" in note
    assert "trained on pixels in [-1, 1]" in note
    assert json.loads((imported / "import.json").read_text()) == {
        "settings": {
            "format": 1,
            "source_sha256": digest,
            "network": "inception_v1",
            "value_range": [-1, 1],
        },
        "fingerprint": module.fingerprint(imported),
    }


def test_the_same_again_is_a_no_op_and_anything_else_is_refused(imported, source, tmp_path):
    before = (imported / "saved_model.pb").stat().st_mtime_ns
    importing.import_weights(source, imported, network="inception_v1", value_range=(-1, 1))
    assert (imported / "saved_model.pb").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="made with other settings"):
        importing.import_weights(source, imported, value_range=(-2, 2))
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="something else than backbone import writes"):
        importing.import_weights(source, tmp_path)


@pytest.fixture
def answering(source, monkeypatch):
    """A function that gives the reader of checkpoints a source's own answer."""
    read = importing.slim_checkpoint.read

    def set_answer(function, value_range=(-1, 1)):
        def answered(path, network):
            return read(path, network)._replace(answer=function, value_range=value_range)

        monkeypatch.setattr(importing.slim_checkpoint, "read", answered)

    return set_answer


def test_the_sources_own_answer_decides(answering, imported, source, tmp_path, monkeypatch):
    def save(backbone, values, image_size, directory):  # in no time
        shutil.copytree(imported, directory, dirs_exist_ok=True)

    monkeypatch.setattr(forward, "save", save)
    right = tf.saved_model.load(str(imported))
    answering(lambda images: right(images).numpy())
    importing.import_weights(source, tmp_path / "right")
    answering(lambda images: right(images).numpy() * (1 + 3e-4))
    with pytest.raises(UserError, match=r"differs from its source .* by 0\.0003"):
        importing.import_weights(source, tmp_path / "wrong")
    assert [path.name for path in tmp_path.iterdir()] == ["right"]


def test_a_range_that_nobody_says_is_taken_and_that_is_said(answering, imported, source, capsys):
    answering(None, value_range=None)
    taken = importing.import_weights(source, imported)
    assert taken.value_range == (-1, 1)
    assert "does not say the range of its pixels; [-1, 1] is taken" in capsys.readouterr().err


def test_a_negative_variance_is_refused(source, tmp_path, monkeypatch):
    read = importing.slim_checkpoint.read
    name = "InceptionV1/Mixed_3b/Branch_0/Conv2d_0a_1x1/BatchNorm/moving_variance"

    def wrong(path, network):
        found = read(path, network)
        return found._replace(values={**found.values, name: found.values[name] - 3})

    monkeypatch.setattr(importing.slim_checkpoint, "read", wrong)
    with pytest.raises(UserError, match=rf"negative variance: {name} is -2 somewhere"):
        importing.import_weights(source, tmp_path / "m")


def test_what_no_reader_knows(tmp_path, imported, source):
    (tmp_path / "w.bin").write_bytes(b"weights")
    with tarfile.open(tmp_path / "whole.tar", "w") as tar:
        tar.add(source, "inception_v1.ckpt")
    (tmp_path / "cut.tar").write_bytes((tmp_path / "whole.tar").read_bytes()[:100_000])
    for path, complaint in (
        (tmp_path / "w.bin", r"w\.bin is none of them: .* read from a TF-Slim checkpoint, "),
        (tmp_path / "no", "no is not there"),
        (tmp_path / "cut.tar", r"Cannot unpack .*cut\.tar: .*damaged or incomplete"),
        (imported, "is a SavedModel, .* Give it as backbone.handle"),
    ):
        assert not importing.is_source(path)
        with pytest.raises(UserError, match=complaint):
            importing.import_weights(path, tmp_path / "m")
    with pytest.raises(UserError, match="network is .* Choose one of"):
        importing.import_weights(tmp_path / "w.bin", tmp_path / "m", network="vgg")


def test_the_digest_is_of_all_that_belongs_to_a_source(tmp_path):
    for name in ("m.ckpt.index", "m.ckpt.data-00000-of-00001", "other.ckpt.index", "w.npz"):
        (tmp_path / name).write_bytes(name.encode())
    assert importing.source_digest(tmp_path / "w.npz") == hashlib.sha256(b"w.npz").hexdigest()
    by_prefix = importing.source_digest(tmp_path / "m.ckpt")
    assert by_prefix == importing.source_digest(tmp_path / "m.ckpt.index")
    (tmp_path / "other.ckpt.index").write_bytes(b"changed")
    assert importing.source_digest(tmp_path / "m.ckpt") == by_prefix
    (tmp_path / "m.ckpt.data-00000-of-00001").write_bytes(b"changed")
    assert importing.source_digest(tmp_path / "m.ckpt") != by_prefix


def test_a_handle_may_be_the_source(source, imported, tmp_path, monkeypatch):
    """Made once, in the cache; another content of the same name is another module."""
    from inception_finetune.pipeline.config import load_config
    from inception_finetune.pipeline.inputs import find_network, resolve_backbone

    def copy(source, directory, *, network):
        made.append(network)
        shutil.copytree(imported, directory)
        manifest = json.loads((directory / "import.json").read_text())
        manifest["settings"]["source_sha256"] = importing.source_digest(source)
        (directory / "import.json").write_text(json.dumps(manifest))

    made = []
    monkeypatch.setattr(importing, "import_weights", copy)
    path = tmp_path / "mine.ckpt"
    shutil.copy(source, path)
    config = load_config(
        "digits",
        [
            f"cache={tmp_path / 'cache'}",
            f"backbone.handle={path}",
            "backbone.network=auto",
        ],
    )
    first = resolve_backbone(config)
    assert first.parent == tmp_path / "cache" / "backbones"
    assert module.fingerprint(first) == module.fingerprint(imported)
    assert resolve_backbone(config) == first
    assert find_network(config.model_copy(), first) == INCEPTION_V1
    with path.open("r+b") as file:
        file.write(b"x")  # the end, which tells a checkpoint, is the same
    assert resolve_backbone(config) != first
    assert made == ["auto", "auto"]
    (first / "saved_model.pb").write_bytes(b"changed")
    shutil.copy(source, path)
    with pytest.raises(UserError, match="changed after it was made"):
        resolve_backbone(config)


def test_the_command(run_command, source, imported, tmp_path):
    status, out, err = run_command("backbone", "import", source, imported, "--value-range", "-1..1")
    assert status == 0
    assert f"{imported}: InceptionV1, pixels in [-1, 1] before, from {source}" in out
    assert "left out: its classifier of 1,001 classes" in err
    for arguments, complaint in (
        (["--value-range", "0..255"], "do not fit InceptionV1 exactly"),
        (["--value-range", "7"], "--value-range '7' is not a range. Give LOW..HIGH"),
        (["--network", "inception_v3"], "it holds InceptionV1, and backbone.network is"),
    ):
        status, _, err = run_command("backbone", "import", source, tmp_path / "m", *arguments)
        assert status == 1
        assert complaint in err
        assert "Traceback" not in err
    assert not list(tmp_path.iterdir())
