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
    assert (config.image.central_crop, config.image.views) == (0.875, ("identity",))


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
        match=r"is Mixed_6a, which inception_v1 does not have. Set it to one of Mixed_3b, ",
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


LOOKS_LIKE_MORE = (
    "2017",
    "010",
    "1.10",
    "12:30",
    "0x10",
    "0x_",
    "1_000",
    "1e3",
    "no",
    "2024-02-30",
)


@pytest.mark.parametrize("text", LOOKS_LIKE_MORE)
def test_text_stays_as_it_was_written(tmp_path, text):
    assert load_config("digits", [f"root={text}"]).root == text
    file = tmp_path / "mine.yaml"
    file.write_text(f"extends: digits\nroot: {text}\nreport: {{owners: [{text}]}}\n")
    config = load_config(str(file))
    assert (config.root, config.report.owners) == (text, (text,))


def test_numbers_and_booleans_are_made_where_a_setting_is_one(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "extends: digits\ntraining: {epochs: ~, steps: 010, restore_best: no, dropout: .5}\n"
        "tuning: {learning_rate: [1e-4, 0.01]}\ncache: 'null'\n"
    )
    config = load_config(str(file), ["training.patience=null", "feature_cache=False"])
    training = config.training
    assert (training.epochs, training.steps, training.patience) == (None, 10, None)
    assert (training.restore_best, training.dropout, config.feature_cache) == (False, 0.5, False)
    assert (config.tuning.learning_rate, config.cache) == ((1e-4, 0.01), "null")


def test_an_override_does_not_reach_another_place_through_an_alias(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("extends: digits\nkubeflow: {tasks: {Trainer: &big {cpu: 8}, Tuner: *big}}\n")
    tasks = load_config(str(file), ["kubeflow.tasks.Trainer.cpu=4"]).kubeflow.tasks
    assert (tasks["Trainer"].cpu, tasks["Tuner"].cpu) == (4, 8)


@pytest.mark.parametrize(
    "path", ["a b ", "a\nb", "/x #1/y", "a  b", "!x", "*", "a: b", "- x", "[" * 3000, "1" * 5000]
)
def test_a_path_on_the_command_line_is_taken_as_it_is(path):
    assert load_config("digits", [f"root={path}"]).root == path
    assert load_config("digits", ["root='2017'"]).root == "2017"


LAUGHS = "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 10))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: a\nroot: x\nname: b\n", "line 3 is not plain YAML: the key 'name' is there twice"),
        ("training: {epochs: 1,\n  epochs: 2}", "line 2 is not plain YAML: the key 'epochs' is"),
        ("training: " + "{a: " * 2000, "is not plain YAML: it is nested too deep"),
        ("seed: " + "[" * 3000, "is not plain YAML: it is nested too deep"),
        ("root: !!timestamp 2024-02-30", "line 1 is not plain YAML: could not determine"),
        (f"training: {{epochs: {'1' * 5000}}}", "training.epochs: Unable to parse"),
        (f"x0: &x0 [{'a' * 99}]\n{LAUGHS}root: *x9", "root: Input should be a valid string"),
        (f"x0: &x0 [{'a' * 99}]\n{LAUGHS}extends: *x9", "of extends in config"),
        ("".join(f"key{i}: 1\n" for i in range(99)), "unknown key key9; .*; and 89 more .config"),
    ],
)
def test_hostile_files_are_one_short_line(tmp_path, text, told):
    file = tmp_path / "hostile.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=told) as refusal:
        load_config(str(file))
    assert len(str(refusal.value)) < 5000 and "\n" not in str(refusal.value)


def test_a_block_to_explain_that_the_network_lacks_is_refused():
    assert load_config("cifar10").explain.block == "auto"
    assert load_config("cifar10", ["explain.block=null"]).explain.block is None
    with pytest.raises(UserError, match=r"explain.block is Mixed_9z, which inception_v3 does not"):
        load_config("cifar10", ["explain.block=Mixed_9z"])
