"""Several devices: their weights agree, and are those that one device alone would have learned."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_trainer_fit as small

from components.errors import UserError
from trainer import devices, fit

# Of a frozen upper part and no dropout: what is left does not depend on who sees which example.
SETTINGS = {"epochs": 2, "dropout": 0.0, "learning_rate": 0.05}


def train_head(directory: Path, strategy) -> list[np.ndarray]:
    directory.mkdir(parents=True, exist_ok=True)
    sources = small.make_sources(directory)
    settings = small.settings_for(**SETTINGS)
    with strategy.scope():
        classifier = small.small_classifier(settings.training)
        classifier.upper.trainable = False
        fit.fit(classifier, *sources, settings, str(directory / "run"))
    return classifier.head.get_weights()


def run_processes(*arguments: tuple[list[str], dict[str, str]]) -> None:
    """This file as a script, in processes that meet."""
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, *argument],
            env={**os.environ, **environment},
            cwd=small.REPOSITORY,
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


def test_two_workers_learn_what_one_learns(alone, tmp_path):
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    clusters = [
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        for index in range(2)
    ]
    run_processes(
        *(
            (["workers", str(tmp_path / str(index))], {"TF_CONFIG": json.dumps(cluster)})
            for index, cluster in enumerate(clusters)
        )
    )
    first, second = learned(tmp_path / "0"), learned(tmp_path / "1")
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert_close(first, alone)


def test_workers_without_a_cluster_are_one_clear_line(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError, match="needs TF_CONFIG with the addresses.*TF_CONFIG=''"):
        devices.choose_strategy("multi_worker")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def main(kind: str, directory: Path) -> None:
    import tensorflow as tf

    if kind == "mirrored":
        [cpu] = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = devices.choose_strategy("multi_worker")
        chief = json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 0
        assert devices.is_chief(strategy) == chief
    assert strategy.num_replicas_in_sync == 2
    np.savez(directory / "weights.npz", *train_head(directory, strategy))


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir(exist_ok=True)
    main(sys.argv[1], Path(sys.argv[2]))
