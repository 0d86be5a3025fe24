"""Several devices: their weights agree, and are those that one device alone would have learned."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import small_training as small
from helpers.paths import REPOSITORY
from inception_finetune.components.errors import UserError
from inception_finetune.trainer import devices, fit

# Of a frozen upper part and no dropout: what is left does not depend on who sees which example.
SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "dropout": 0.0,
    "learning_rate": 0.05,
    "optimizer": "adamw",
    "weight_decay": 0.1,
    "mixup": 0.4,
    "cutmix": 1.0,
    "class_weights": "balanced",
    "balanced_sampling": 0.5,
    "clip_norm": 1.0,
}


def train_head(directory: Path, strategy) -> list[np.ndarray]:
    directory.mkdir(parents=True, exist_ok=True)
    sources = small.make_sources(directory)
    settings = small.settings_for(**SETTINGS)
    with strategy.scope():
        classifier = small.small_classifier(settings.training)
        classifier.upper.trainable = False
        fit.fit(classifier, *sources, settings, str(directory / "run"), small.execution())
    return classifier.head.get_weights()


def run_processes(*arguments: tuple[list[str], dict[str, str]]) -> None:
    """This file as a script, in processes that meet."""
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, *argument],
            env={**os.environ, "PYTHONPATH": f"{REPOSITORY}/src:{REPOSITORY}/tests", **environment},
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
        )
        for argument, environment in arguments
    ]
    for process in processes:
        _, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors[-3000:]


def learned(directory: Path) -> list[np.ndarray]:
    with np.load(directory / "weights.npz") as weights:
        return list(weights.values())


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> list[np.ndarray]:
    import tensorflow as tf

    return train_head(tmp_path_factory.mktemp("alone"), tf.distribute.get_strategy())


def assert_close(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_two_devices_of_a_machine_learn_what_one_learns(alone, tmp_path):
    run_processes((["mirrored", str(tmp_path)], {}))
    assert_close(learned(tmp_path), alone)


def test_an_uneven_batch_is_refused_before_anything_is_done(tmp_path):
    run_processes((["uneven", str(tmp_path)], {}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("batch_size", "replicas", "fitting"),
    [(17, 2, "16 or 18"), (2, 4, "8"), (64, 3, "63 or 66"), (4, 3, "6"), (3, 2, "4")],
)
def test_the_nearest_batch_sizes_that_fit_are_named(batch_size, replicas, fitting):
    line = rf"batch_size is {batch_size}, and {replicas} devices.*=({fitting})\.$"
    with pytest.raises(UserError, match=line):
        devices.check_batch_size(batch_size, replicas)


@pytest.mark.parametrize(("batch_size", "replicas"), [(2, 1), (17, 1), (4, 2), (64, 4)])
def test_batch_sizes_that_fit(batch_size, replicas):
    devices.check_batch_size(batch_size, replicas)


def test_a_run_refuses_it_before_it_converts(monkeypatch, tmp_path):
    import tensorflow as tf

    from inception_finetune.pipeline import local
    from inception_finetune.pipeline.config import load_config

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a", "b", "c"])
    monkeypatch.setattr(local, "prepare_inputs", None)
    with pytest.raises(UserError, match="batch_size is 32, and 3 devices"):
        local.run(load_config("digits", [f"root={tmp_path}", "training.batch_size=32"]))


def test_several_machines_are_one_clear_line(run_command):
    status, _, errors = run_command("run", "--config", "digits", "training.devices=multi_worker")
    assert status == 1 and errors.count("\n") == 1
    assert "training.devices=multi_worker is not supported" in errors


def main(kind: str, directory: Path) -> None:
    import tensorflow as tf

    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    if kind == "uneven":
        SETTINGS["batch_size"] = 17
        with pytest.raises(UserError, match="batch_size is 17, and 2 devices"):
            train_head(directory, strategy)
    else:
        np.savez(directory / "weights.npz", *train_head(directory, strategy))


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir(exist_ok=True)
    main(sys.argv[1], Path(sys.argv[2]))
