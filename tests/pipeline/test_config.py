import subprocess
import sys

import pytest

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config, preset_names


def test_presets_are_found_and_valid():
    assert preset_names() == ["article", "cifar10", "digits", "scratch_cnn"]
    for name in preset_names():
        assert load_config(name).name == name.replace("_", "-")  # Kubeflow's names have no "_"


def test_the_article_preset_holds_the_articles_hyper_parameters():
    config = load_config("article")
    training = config.training
    assert (training.learning_rate, training.batch_size, training.steps) == (1e-3, 64, 1500)
    assert training.epochs is None and training.schedule == "constant"
    assert (config.backbone.trainable_from, config.backbone.fresh) == ("Mixed_7a", True)
    assert (config.image.size, config.gate.min_accuracy) == (299, 0.7985)


def test_overrides_win_over_file_and_file_over_preset(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("extends: digits\nimage: {size: 96}\ntraining: {epochs: 2, dropout: 0.5}\n")
    config = load_config(str(file), ["training.epochs=7", "training.learning_rate=1e-4"])
    assert (config.image.size, config.image.central_crop) == (96, 1.0)
    assert (config.training.epochs, config.training.dropout) == (7, 0.5)
    assert config.training.learning_rate == 1e-4
    assert config.dataset.archive == "digits"


def test_the_configuration_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load_config("digits").image.size = 100


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.lerning_rate=1",
            "unknown key training.lerning_rate; did you mean learning_rate",
        ),
        ("trainig.epochs=1", "unknown key trainig; did you mean training"),
        ("training.epochs=0", "training.epochs: Input should be greater than or equal to 1"),
        ("training.learning_rate=.nan", "training.learning_rate: Input should be"),
        ("image.size=74", "image.size must be at least 75 for inception_v3, here it is 74"),
        ("image=3", "image: Input should be"),
        ("backbone.trainable_from=Mixed_8a", "Set it to one of Mixed_5b"),
        ("backbone.network=vgg", "backbone.network: must be one of inception_v1, inception_v2"),
        (
            "backbone.network=auto",
            "backbone.network is auto, and backbone.handle=standin has no weights",
        ),
        ("gate.min_accuracy=79.85", "gate.min_accuracy: Input should be less than or equal to 1"),
        ("training.steps=10", "exactly one of them must be given"),
        ("name=../x", "name: String should match"),
        ("runner=flink", "runner: Input should be 'local' or 'beam'"),
        ("epochs", "is not key=value"),
        ("=3", "is not key=value"),
    ],
)
def test_bad_overrides_are_refused_in_one_line_by_name(override, message):
    with pytest.raises(UserError) as refusal:
        load_config("digits", [override])
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("network", "handle"),
    [
        ("inception_v1", "https://tfhub.dev/google/imagenet/inception_v1/feature_vector/5"),
        ("inception_v3", "https://tfhub.dev/google/imagenet/inception_v3/feature_vector/5"),
        ("auto", "https://tfhub.dev/google/imagenet/inception_v3/feature_vector/5"),
    ],
)
def test_a_network_has_its_own_module(network, handle):
    settings = [f"backbone.network={network}", "backbone.trainable_from=head"]
    assert load_config("cifar10", settings).backbone.handle == handle
    assert load_config("cifar10", [*settings, "backbone.handle=mine"]).backbone.handle == "mine"


def test_a_network_without_a_module_needs_a_handle():
    with pytest.raises(
        UserError, match=r"backbone\.handle is missing, and inception_v4 has no module"
    ):
        load_config("cifar10", ["backbone.network=inception_v4"])


def test_blocks_and_sizes_are_those_of_the_network():
    settings = [
        "backbone.network=inception_v1",
        "backbone.trainable_from=Mixed_5b",
        "image.size=32",
    ]
    assert load_config("cifar10", settings).backbone.trainable_from == "Mixed_5b"
    with pytest.raises(
        UserError,
        match=r"is Mixed_7a, which inception_v1 does not have. Set it to one of Mixed_3b, ",
    ):
        load_config("cifar10", settings[:1])
    with pytest.raises(UserError, match="at least 32 for inception_v1, here it is 31"):
        load_config("cifar10", [*settings[:2], "image.size=31"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "is not plain YAML"),
        ("- 1", "holds a list"),
        ("extends: none", "of extends in config"),
        ("!!python/object/apply:os.system ['true']", "is not plain YAML"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, text, message):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as refusal:
        load_config(str(file))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_names_the_presets():
    with pytest.raises(UserError, match="article, cifar10, digits"):
        load_config("cifar100")


def test_configuration_and_command_line_import_nothing_heavy():
    code = (
        "import sys, inception_finetune.pipeline.cli.main;"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'numpy', 'tf_keras'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_text_may_look_like_a_number():
    assert load_config("digits", ["dataset.archive=2017"]).dataset.archive == "2017"


@pytest.mark.parametrize("path", ["a b ", "a\nb", "/x #1/y", "a  b", "!x", "*"])
def test_a_path_on_the_command_line_is_taken_as_it_is(path):
    assert load_config("digits", [f"root={path}"]).root == path
    assert load_config("digits", ["root='2017'"]).root == "2017"
