"""Files that Keras wrote of its InceptionV3 and Inception-ResNet-v2: the very values come out."""

import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest
import tf_keras as keras
from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata

from inception_finetune.components.backbone.networks.inception_resnet_v2 import INCEPTION_RESNET_V2
from inception_finetune.components.backbone.networks.inception_v3 import INCEPTION_V3
from inception_finetune.components.backbone.weights import importing, keras_file
from inception_finetune.components.backbone.weights.keras_names import read_settings
from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.inputs import resolve_backbone

BATCH_NORM = ("BatchNorm/beta", "BatchNorm/moving_mean", "BatchNorm/moving_variance")


@pytest.fixture(scope="module")
def theirs():
    """Keras' InceptionV3 and its top of 7 classes, all values random; numbered from somewhere."""
    keras.layers.Conv2D(1, 1)  # takes the name conv2d
    network = keras.applications.InceptionV3(
        weights=None, include_top=False, input_shape=(75, 75, 3), pooling="avg"
    )
    generator = np.random.default_rng(0)
    network.set_weights(
        [generator.standard_normal(one.shape, np.float32) for one in network.weights]
    )
    top = keras.layers.Dense(7, name="predictions")(network.output)
    return network, keras.Model(network.input, top)


def of_kind(network, kind):
    layers = [one for one in network.layers if isinstance(one, kind)]
    return sorted(layers, key=lambda one: (len(one.name), one.name))


def by_slim_name(network):
    kernels = of_kind(network, keras.layers.Conv2D)
    statistics = of_kind(network, keras.layers.BatchNormalization)
    values = {}
    for scope, kernel, batch_norm in zip(
        INCEPTION_V3.convolutions, kernels, statistics, strict=True
    ):
        values[f"{scope}/weights"] = kernel.get_weights()[0]
        arrays = zip(BATCH_NORM, batch_norm.get_weights(), strict=True)
        values |= {f"{scope}/{name}": array for name, array in arrays}
    return values


def save_weights(network, top, folder):
    network.save_weights(folder / "file.h5")
    return folder / "file.h5"


def save_with_top(network, top, folder):
    top.save_weights(folder / "file.h5")
    return folder / "file.h5"


def save_whole(network, top, folder):
    top.compile("adam", "mse")
    top.optimizer.build(top.trainable_variables[:2])
    top.save(folder / "whole.h5")
    return folder / "whole.h5"


def save_keras(network, top, folder):
    top.save(folder / "model.keras")
    return folder / "model.keras"


def save_nested(network, top, folder):
    keras.Sequential([network, keras.layers.Dense(3)]).save(folder / "model.keras")
    return folder / "model.keras"


def save_checkpoint(network, top, folder):
    """All that is read of a SavedModel, whose graph takes a minute to write."""
    top.save_weights(folder / "model/variables/variables", save_format="tf")
    (folder / "model/saved_model.pb").write_bytes(b"")
    metadata = SavedMetadata()
    metadata.nodes.add(node_path="root", metadata=top.to_json())
    (folder / "model/keras_metadata.pb").write_bytes(metadata.SerializeToString())
    return folder / "model"


@pytest.mark.parametrize(
    "save", [save_weights, save_with_top, save_whole, save_keras, save_nested, save_checkpoint]
)
def test_inception_v3(theirs, tmp_path, save, capsys):
    path = save(*theirs, tmp_path)
    assert importing.is_source(path)
    found = keras_file.read(path, "auto")
    assert (found.backbone, found.value_range, found.answer) == (INCEPTION_V3, (-1, 1), None)
    expected = by_slim_name(theirs[0])
    assert list(found.values) == list(expected)
    assert all(np.array_equal(found.values[name], expected[name]) for name in expected)
    said = capsys.readouterr().err
    if save is not save_weights:
        assert "left out: its classifier: " in said
        assert "of 7 outputs" in said or save is save_nested


def test_weights_of_keras_3_name_their_layers(theirs, tmp_path):
    """``save_weights("x.weights.h5")``: the place of a layer is its rank in the model's order."""
    counts = {}
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        for layer in theirs[0].layers:
            kind = type(layer).__name__.replace("BatchN", "Batch_n").lower()
            count = counts[kind] = counts.get(kind, -1) + 1
            place = f"layers/{kind}_{count}" if count else f"layers/{kind}"
            group = file.create_group(f"{place}/vars")
            group.attrs["name"] = layer.name
            for index, array in enumerate(layer.get_weights()):
                group[str(index)] = array
    found = keras_file.read(tmp_path / "x.weights.h5", "inception_v3")
    expected = by_slim_name(theirs[0])
    assert all(np.array_equal(found.values[name], expected[name]) for name in expected)


def test_weights_of_keras_2_have_the_order_of_its_network(theirs, tmp_path, monkeypatch):
    """They say neither names nor settings; Keras' network, which takes a while, is made already."""
    theirs[0].save_weights(tmp_path / "x.weights.h5")
    monkeypatch.setattr(keras.applications, "InceptionV3", lambda **settings: theirs[0])
    found = keras_file.read(tmp_path / "x.weights.h5", "auto")
    expected = by_slim_name(theirs[0])
    assert all(np.array_equal(found.values[name], expected[name]) for name in expected)


def test_a_saved_model_is_a_handle(theirs, tmp_path, monkeypatch):
    folder = save_checkpoint(*theirs, tmp_path)
    monkeypatch.setattr(importing, "import_once", lambda source, cache, network: source / network)
    config = load_config("digits", [f"backbone.handle={folder}", "backbone.network=inception_v3"])
    assert resolve_backbone(config) == folder / "inception_v3"
    (folder / "keras_metadata.pb").write_bytes(b"cut")
    with pytest.raises(UserError, match="Keras file .*/model cannot be read"):
        keras_file.read(folder, "auto")
    (folder / "keras_metadata.pb").unlink()  # a range that nobody says is the importer's to say
    assert keras_file.read(folder, "auto").value_range is None


def test_inception_resnet_v2(tmp_path):
    network = keras.applications.InceptionResNetV2(
        weights=None, include_top=False, input_shape=(75, 75, 3)
    )
    generator = np.random.default_rng(1)
    for layer in network.layers:  # kernels are random as they are
        if isinstance(layer, keras.layers.BatchNormalization):
            shapes = [one.shape for one in layer.weights]
            layer.set_weights([generator.standard_normal(one, np.float32) for one in shapes])
    network.save_weights(tmp_path / "file.h5")
    found = keras_file.read(tmp_path / "file.h5", "auto")
    assert found.backbone == INCEPTION_RESNET_V2
    scope = "InceptionResnetV2"
    numbered = of_kind(network, keras.layers.Conv2D)
    numbered = [one for one in numbered if one.name.startswith("conv2d")]
    for name, layer, index in (
        ("Conv2d_1a_3x3/weights", numbered[0], 0),
        ("Repeat_2/block8_9/Branch_1/Conv2d_0c_3x1/weights", numbered[-5], 0),
        ("Block8/Branch_1/Conv2d_0c_3x1/weights", numbered[-1], 0),
        ("Repeat/block35_10/Conv2d_1x1/weights", network.get_layer("block35_10_conv"), 0),
        ("Repeat_1/block17_2/Conv2d_1x1/biases", network.get_layer("block17_2_conv"), 1),
        ("Block8/Conv2d_1x1/weights", network.get_layer("block8_10_conv"), 0),
        ("Conv2d_7b_1x1/weights", network.get_layer("conv_7b"), 0),
        ("Conv2d_7b_1x1/BatchNorm/moving_mean", network.get_layer("conv_7b_bn"), 1),
    ):
        assert np.array_equal(found.values[f"{scope}/{name}"], layer.get_weights()[index]), name


@pytest.fixture(scope="module")
def file(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "file.h5"
    theirs[0].save_weights(path)
    return path


def remove(file, names):
    del file[names[3]]


def add(file, names):
    file["normalization/normalization/mean:0"] = np.zeros(3)


def spoil(file, names):
    file[names[3]][0, 0, 0, 0] = np.nan


def twice(file, names):
    file[f"other/{names[3]}"] = np.zeros(file[names[3]].shape)


def refer(file, names):
    shape = file[names[3]].shape
    del file[names[3]]
    file.create_dataset(names[3], shape, np.float32, external=[("/etc/passwd", 0, 1 << 20)])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (remove, r"do not fit InceptionV3 .*: 1 missing: {layer}/kernel \[1, 1, 64, 80\]. Take"),
        (add, r"1 surplus: normalization/mean \[3\]. Take"),
        (spoil, r"not finite .*{layer}/kernel:0 is float32 or holds NaN"),
        (twice, r"holds {layer}/kernel twice, as .* more than one network"),
        (refer, r"over several files: .*{layer}/kernel:0 refers to another"),
    ],
)
def test_what_does_not_fit(theirs, file, tmp_path, change, complaint):
    layers = [one.name for one in of_kind(theirs[0], keras.layers.Conv2D)]
    shutil.copy(file, tmp_path / "file.h5")
    with h5py.File(tmp_path / "file.h5", "r+") as opened:
        change(opened, [f"{layer}/{layer}/kernel:0" for layer in layers])
    with pytest.raises(UserError, match=complaint.format(layer=layers[3])) as refused:
        keras_file.read(tmp_path / "file.h5", "auto")
    assert "\n" not in str(refused.value)


def test_other_files(file, tmp_path):
    with pytest.raises(UserError, match="Another network in .*: it holds InceptionV3, and"):
        keras_file.read(file, "inception_v4")
    other = keras.Sequential([keras.Input([8, 8, 3]), keras.layers.Conv2D(4, 3)])
    other.save(tmp_path / "other.h5")
    with pytest.raises(UserError, match="No known network in .*: none of its 2 variables"):
        keras_file.read(tmp_path / "other.h5", "auto")
    complaint = r"InceptionV3 .*: 375 missing: .*; 1 surplus: conv2d\S*/bias \[4\]; 1 misshapen"
    with pytest.raises(UserError, match=complaint):
        keras_file.read(tmp_path / "other.h5", "inception_v3")
    (tmp_path / "cut.h5").write_bytes(file.read_bytes()[:1_000_000])
    assert keras_file.recognises(tmp_path / "cut.h5")
    with pytest.raises(UserError, match=r"Keras file .*cut\.h5 cannot be read: .*truncated"):
        keras_file.read(tmp_path / "cut.h5", "auto")
    with zipfile.ZipFile(tmp_path / "bad.keras", "w") as archive:
        archive.writestr("config.json", "no JSON")
        archive.writestr("model.weights.h5", file.read_bytes())
    with pytest.raises(UserError, match=r"Keras file .*bad\.keras cannot be read: Expecting"):
        keras_file.read(tmp_path / "bad.keras", "auto")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "none.h5"):
        assert not keras_file.recognises(path)


def test_settings_of_the_layers_count(file, tmp_path):
    """Another epsilon goes into the variance; Rescaling says the range of the pixels."""
    layers = [
        {"class_name": "Rescaling", "config": {"scale": 1 / 255, "offset": 0.0}},
        *(
            {"class_name": "BatchNormalization", "config": {"name": name, "epsilon": 0.003}}
            for name in h5py.File(file)
            if name.startswith("batch_normalization")
        ),
    ]
    shutil.copy(file, tmp_path / "file.h5")
    with h5py.File(tmp_path / "file.h5", "r+") as opened:
        for one in opened.values():
            for name in one:
                if "moving_variance:0" in one[name]:
                    one[name]["moving_variance:0"][:] = 0.5
        opened.attrs["model_config"] = json.dumps({"config": {"layers": layers}})
    found = keras_file.read(tmp_path / "file.h5", "auto")
    assert found.value_range == (0, 1)
    variance = found.values["InceptionV3/Conv2d_1a_3x3/BatchNorm/moving_variance"]
    np.testing.assert_allclose(variance, 0.502, rtol=1e-6)
    lambdas = {"config": {"layers": [{"class_name": "TFOpLambda", "config": {}}]}}
    assert read_settings(lambdas, (-1, 1)).value_range is None
