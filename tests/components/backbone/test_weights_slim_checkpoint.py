"""Checkpoints that a TF1 Saver wrote, in both forms, alone and packed: the very values come out."""

import shutil
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from inception_finetune.components.backbone.networks import NETWORKS
from inception_finetune.components.backbone.networks.inception_v1 import INCEPTION_V1
from inception_finetune.components.backbone.weights import slim_checkpoint
from inception_finetune.components.errors import UserError

v1 = tf.compat.v1
LOGITS = {  # of TF-Slim, which calls them otherwise in each network
    "inception_v1": ["InceptionV1/Logits/Conv2d_0c_1x1/biases"],
    "inception_v2": ["InceptionV2/Logits/Conv2d_1c_1x1/biases"],
    "inception_v3": [
        "InceptionV3/Logits/Conv2d_1c_1x1/biases",
        "InceptionV3/AuxLogits/Conv2d_2b_1x1/biases",
    ],
    "inception_v4": ["InceptionV4/Logits/Logits/biases", "InceptionV4/AuxLogits/Aux_logits/biases"],
    "inception_resnet_v2": [
        "InceptionResnetV2/Logits/Logits/biases",
        "InceptionResnetV2/AuxLogits/Logits/biases",
    ],
}
FIRST = "InceptionV1/Conv2d_1a_7x7/weights"
OF_TRAINING = {  # what TF-Slim's training adds
    "global_step": (),
    f"{FIRST}/RMSProp": (7, 7, 3, 64),
    f"{FIRST}/ExponentialMovingAverage": (7, 7, 3, 64),
    "InceptionV1/Conv2d_1a_7x7/BatchNorm/moving_mean/biased": (64,),
}


def save(path, arrays, version):
    """As tf.train.Saver saves a graph's variables; returns the prefix that it gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default(), v1.Session() as session:
        made = [
            v1.get_variable(name, initializer=array, use_resource=False)
            for name, array in arrays.items()
        ]
        session.run(v1.variables_initializer(made))
        return v1.train.Saver(made, write_version=version).save(session, str(path))


@pytest.fixture(scope="module")
def arrays():
    generator = np.random.default_rng(0)
    return {
        name: generator.standard_normal(shape, np.float32)
        for name, shape in INCEPTION_V1.variables(224)
    }


@pytest.fixture(scope="module")
def files(arrays, tmp_path_factory):
    """v1/inception_v1.ckpt of 1,001 classes, and training/model.ckpt-7 with all of training."""
    root = tmp_path_factory.mktemp("checkpoints")
    logits = {LOGITS["inception_v1"][0]: np.zeros(1001, np.float32)}
    of_training = {name: np.zeros(shape, np.float32) for name, shape in OF_TRAINING.items()}
    save(root / "v1/inception_v1.ckpt", arrays | logits, v1.train.SaverDef.V1)
    save(root / "training/model.ckpt-7", arrays | of_training, v1.train.SaverDef.V2)
    with tarfile.open(root / "inception_v1_2016_08_28.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(root / "v1/inception_v1.ckpt", "inception_v1.ckpt")
    return root


def test_the_single_file_of_2016_and_its_archive(files, arrays, capsys):
    assert [path.name for path in (files / "v1").glob("*.ckpt")] == ["inception_v1.ckpt"]
    for place in ("v1/inception_v1.ckpt", "v1", "inception_v1_2016_08_28.tar.gz"):
        assert slim_checkpoint.recognises(files / place)
        found = slim_checkpoint.read(files / place, "auto")
        assert (found.backbone, found.value_range) == (INCEPTION_V1, (-1, 1))
        assert list(found.values) == list(arrays)
        assert all(np.array_equal(found.values[name], array) for name, array in arrays.items())
        assert capsys.readouterr().err == (
            f"{files / place}: the 228 variables of InceptionV1; left out: its classifier of "
            "1,001 classes\n"
        )


@pytest.mark.parametrize(
    "name", ["", "model.ckpt-7", "model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001"]
)
def test_a_training_by_each_of_its_names(files, arrays, name, capsys):
    path = files / "training" / name
    assert slim_checkpoint.recognises(path)
    found = slim_checkpoint.read(path, "inception_v1").values
    assert np.array_equal(found[FIRST], arrays[FIRST])
    assert "left out: 4 more, such as global_step\n" in capsys.readouterr().err


def test_of_several_checkpoints_the_latest_or_none(files, arrays, tmp_path):
    shutil.copytree(files / "training", tmp_path / "t")
    for file in (tmp_path / "t").glob("model.ckpt-7.*"):
        shutil.copy(file, file.with_name(file.name.replace("-7.", "-3.")))
    assert np.array_equal(slim_checkpoint.read(tmp_path / "t", "auto").values[FIRST], arrays[FIRST])
    (tmp_path / "t" / "checkpoint").unlink()
    with pytest.raises(
        UserError, match=r"holds 2 checkpoints, not one: model\.ckpt-3\.index, model\.ckpt-7\.index"
    ):
        slim_checkpoint.read(tmp_path / "t", "auto")


def test_a_name_that_tensorflow_would_take_for_a_pattern(files, arrays, tmp_path):
    path = tmp_path / "a * [1]" / "net [2].ckpt"
    path.parent.mkdir()
    shutil.copy(files / "v1/inception_v1.ckpt", path)
    assert np.array_equal(slim_checkpoint.read(path, "auto").values[FIRST], arrays[FIRST])


@pytest.mark.parametrize("network", LOGITS)
def test_every_networks_variables_are_told_apart(network, tmp_path):
    backbone = NETWORKS[network]
    shapes = {f"tower/{name}": list(shape) for name, shape in backbone.variables(299)}
    logits = dict.fromkeys(LOGITS[network], [1001])
    contents = slim_checkpoint.sort_variables(
        shapes | logits | {"beta1_power": []}, tmp_path, "auto"
    )
    assert contents.backbone == backbone
    assert contents.keys == {name.removeprefix("tower/"): name for name in sorted(shapes)}
    assert (contents.classifier, contents.classes) == (sorted(LOGITS[network]), 1001)
    assert contents.others == ["beta1_power"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.pop(FIRST), rf"1 missing: {FIRST} \[7, 7, 3, 64\]"),
        (
            lambda s: s.update({"InceptionV1/Conv2d_1a_7x7/BatchNorm/gamma": [64]}),
            r"1 surplus: InceptionV1/Conv2d_1a_7x7/BatchNorm/gamma \[64\]",
        ),
        (lambda s: s.update({FIRST: [3, 3, 3, 64]}), r"1 misshapen: .* \[3, 3, 3, 64\] instead of"),
        (lambda s: s.update({f"b/{FIRST}": s[FIRST]}), f"{FIRST} twice, as {FIRST} and b/{FIRST}"),
    ],
)
def test_variables_that_do_not_fit(change, complaint, tmp_path):
    shapes = {name: list(shape) for name, shape in INCEPTION_V1.variables(224)}
    change(shapes)
    with pytest.raises(UserError, match=complaint) as caught:
        slim_checkpoint.sort_variables(shapes, tmp_path, "auto")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "told"), [(tf.float32, "float32 or holds NaN"), (tf.string, r"string\. Take")]
)
def test_values_that_are_no_numbers(arrays, monkeypatch, files, dtype, told):
    bad = arrays | {FIRST: np.full_like(arrays[FIRST], np.nan)}
    reader = SimpleNamespace(
        get_variable_to_shape_map=lambda: {name: list(a.shape) for name, a in bad.items()},
        get_variable_to_dtype_map=lambda: dict.fromkeys(bad, dtype),
        get_tensor=bad.get if dtype == tf.float32 else None,  # text may be of any length
    )
    monkeypatch.setattr(tf.train, "load_checkpoint", lambda prefix: reader)
    with pytest.raises(UserError, match=f"{FIRST} is {told}"):
        slim_checkpoint.read(files / "v1/inception_v1.ckpt", "auto")


def test_damaged_files_and_files_of_other_kinds(files, tmp_path):
    whole = (files / "v1/inception_v1.ckpt").read_bytes()
    for name, content in {
        "cut.ckpt": whole[: len(whole) // 2],
        "text.ckpt": b"InceptionV1/",
        "empty.ckpt": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert not slim_checkpoint.recognises(tmp_path / name)
    assert not slim_checkpoint.recognises(tmp_path)
    assert not slim_checkpoint.recognises(tmp_path / "nowhere")
    # The end is right, and what it leads to is not.
    (tmp_path / "end.ckpt").write_bytes(b"x" * 100 + whole[-60:])
    with pytest.raises(UserError, match=r"Checkpoint .*end\.ckpt cannot be read: .*Fetch"):
        slim_checkpoint.read(tmp_path / "end.ckpt", "auto")
    index = tmp_path / "alone.ckpt.index"
    shutil.copy(files / "training/model.ckpt-7.index", index)
    with pytest.raises(UserError, match=r"alone\.ckpt\.index cannot be read: .*all of its files"):
        slim_checkpoint.read(index, "auto")


def test_an_archived_saved_model_is_no_checkpoint(files, tmp_path):
    with tarfile.open(tmp_path / "m.tar", "w") as tar:
        tar.add(files / "training/model.ckpt-7.index", "variables/variables.index")
        tar.add(files / "training/checkpoint", "saved_model.pb")
    assert not slim_checkpoint.recognises(tmp_path / "m.tar")
